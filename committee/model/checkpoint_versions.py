"""The shape of a checkpoint's description: its version, the steps from older ones, and its seal."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

SCHEMA_VERSION = 4
_SEAL = "description_sha256"
_FIRST_SEALED = 3

Description = dict[str, Any]


def is_readable(version: object) -> bool:
    """Whether this release reads descriptions of a version."""
    return version == SCHEMA_VERSION or version in tuple(UPGRADES)


def upgraded(description: Description) -> Description:
    """Bring a description of an older version up to this one, one small step per version."""
    while description["schema_version"] in UPGRADES:
        description = UPGRADES[description["schema_version"]](description)
    return description


def sealed(description: Mapping[str, Any]) -> Description:
    """Return a description with the SHA-256 of all else in it."""
    content = {key: value for key, value in description.items() if key != _SEAL}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, _SEAL: hashlib.sha256(text.encode()).hexdigest()}


def seal_is_broken(description: Mapping[str, Any]) -> bool:
    """Whether somebody edited a description; older ones carry no seal."""
    if description["schema_version"] < _FIRST_SEALED:
        return False
    try:
        return sealed(description) != description
    except ValueError:  # NaN, which nobody sealed
        return True


def _combine_lanes(description: Description) -> Description:
    """1 -> 2: a calibration names how spread and latent distance are weighed; before, it was the spread alone."""
    calibration = description["calibration"]
    if calibration is not None:
        kept = {key: value for key, value in dict(calibration).items() if key != "floor_eV_per_A"}
        calibration = {**kept, "spread_power": 1.0, "distance_power": 0.0}
    return {**description, "calibration": calibration, "schema_version": 2}


def _seal(description: Description) -> Description:
    """2 -> 3: the description is sealed, as the tensors were before."""
    return sealed({**description, "schema_version": 3})


def _tell_periodicity(description: Description) -> Description:
    """3 -> 4: the provenance says how many periodic directions the training frames had; before, nobody knew."""
    provenance = {**description["provenance"], "periodic_directions": []}
    return sealed({**description, "provenance": provenance, "schema_version": 4})


UPGRADES: dict[int, Callable[[Description], Description]] = {1: _combine_lanes, 2: _seal, 3: _tell_periodicity}
