"""Schema version of a checkpoint's description, and its checksum."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 4
_SEAL = "description_sha256"

Description = dict[str, Any]


def sealed(description: Mapping[str, Any]) -> Description:
    """Return a description with the SHA-256 of its content added."""
    content = {key: value for key, value in description.items() if key != _SEAL}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, _SEAL: hashlib.sha256(text.encode()).hexdigest()}


def seal_is_broken(description: Mapping[str, Any]) -> bool:
    """Whether a description was edited."""
    try:
        return sealed(description) != description
    except ValueError:  # NaN, which ``sealed`` refuses to write
        return True
