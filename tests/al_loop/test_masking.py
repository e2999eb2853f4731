"""Credentials are taken out of every text, and what only looks like them stays."""

import pytest

from al_loop.ledger.connection import _why_not
from al_loop.utils.redaction import mask_uri, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://ada:hunter2@host/db", "mongodb://***@host/db"),
        ("at mongodb+srv://ada@host: refused", "at mongodb+srv://***@host: refused"),
        ("mongodb://user:hunter2@host and mongodb://b:c@d", "mongodb://***@host and mongodb://***@d"),
        ("mongodb://host:27017/db", "mongodb://host:27017/db"),
    ],
)
def test_uris(text: str, shown: str) -> None:
    assert mask_uri(text) == shown


def test_the_hint_how_to_write_a_uri_is_no_credential() -> None:
    message = mask_uri(_why_not("mongodb://ada:hunter2@:x/", ValueError("mongodb://ada:hunter2@:x/")))
    assert "Expected mongodb://user:password@host:port/database" in message
    assert "hunter2" not in message


def test_nested_settings() -> None:
    assert masked({"api_key": "x", "uri": ["http://a:b@c"], "token": None}) == {
        "api_key": "***",
        "uri": ["http://***@c"],
        "token": None,
    }
