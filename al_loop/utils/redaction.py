"""Masking of credentials in messages and stored settings."""

import re
from typing import Any

# "user:password" itself is the placeholder in messages.
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?!user:password@)[^\s\"'<>]*@")
# Such as tlsCertificateKeyFilePassword among a URI's options.
_OPTION = re.compile(r"(?P<key>[?&][A-Za-z]*(?:password|secret|token)=)[^&\s\"'<>]*", re.IGNORECASE)
_SECRET = re.compile(r"password|passwd|secret|token|api_?key", re.IGNORECASE)


def holds_password(uri: str) -> bool:
    """Whether a URI holds a password, or a secret among its options; a user name alone is none."""
    user = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/]*)@", uri)
    return (user is not None and ":" in user[1]) or _OPTION.search(uri) is not None


def mask_uri(text: str) -> str:
    """Replace user and password of every URI in a text, and secrets among its options, by ``***``."""
    return _OPTION.sub(r"\g<key>***", _USER.sub(r"\g<scheme>***@", text))


def masked(value: Any) -> Any:
    """Return plain nested data with credentials masked, in URIs and under keys with secret names."""
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(str(key)) and item else masked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    return mask_uri(value) if isinstance(value, str) else value
