"""JSON files that carry the SHA-256 of their content, so that a change on the disk is detected."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"


def sealed(data: Mapping[str, Any], *, allow_nan: bool = False) -> str:
    """Return an object as JSON text with its own checksum among its entries.

    Args:
        data: plain values; no entry is called ``sha256``.
        allow_nan: accept NaN and infinity, which are not valid JSON.

    Raises:
        ValueError: NaN or infinity.
    """
    return json.dumps({**data, SEAL: _digest(data, allow_nan=allow_nan)}, allow_nan=allow_nan)


def unsealed(text: str) -> dict[str, Any]:
    """Return the object from the text of ``sealed``.

    Raises:
        ValueError: no JSON object, no checksum, or a checksum of other content.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or SEAL not in data:
        raise ValueError(f"received JSON without the entry {SEAL}, expected an object with its checksum")
    seal = data.pop(SEAL)
    if seal != _digest(data, allow_nan=True):
        raise ValueError("received an object whose SHA-256 differs from the one it carries: it was damaged or edited")
    return data


def _digest(data: Mapping[str, Any], *, allow_nan: bool) -> str:
    """Return the SHA-256 of the object, independent of the order of its entries; floats are written with every bit."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return hashlib.sha256(text.encode()).hexdigest()
