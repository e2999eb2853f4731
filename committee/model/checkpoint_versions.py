"""Schema version of a checkpoint's description, upgrades from older versions, and its checksum."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

SCHEMA_VERSION = 5
_SEAL = "description_sha256"
_FIRST_SEALED = 3

Description = dict[str, Any]


def is_readable(version: object) -> bool:
    """Whether this release can read descriptions of a version."""
    return version == SCHEMA_VERSION or version in tuple(UPGRADES)


def upgraded(description: Description) -> Description:
    """Upgrade a description to the current version, one step per version."""
    while description["schema_version"] in UPGRADES:
        description = UPGRADES[description["schema_version"]](description)
    return description


def sealed(description: Mapping[str, Any]) -> Description:
    """Return a description with the SHA-256 of its content added."""
    content = {key: value for key, value in description.items() if key != _SEAL}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, _SEAL: hashlib.sha256(text.encode()).hexdigest()}


def seal_is_broken(description: Mapping[str, Any]) -> bool:
    """Whether a description was edited; versions before ``_FIRST_SEALED`` have no checksum."""
    if description["schema_version"] < _FIRST_SEALED:
        return False
    try:
        return sealed(description) != description
    except ValueError:  # NaN, which ``sealed`` refuses to write
        return True


def _add_powers(description: Description) -> Description:
    """1 -> 2: the calibration has powers of spread and latent distance; version 1 used the spread alone."""
    calibration = description["calibration"]
    if calibration is not None:
        kept = {key: value for key, value in dict(calibration).items() if key != "floor_eV_per_A"}
        calibration = {**kept, "spread_power": 1.0, "distance_power": 0.0}
    return {**description, "calibration": calibration, "schema_version": 2}


def _seal(description: Description) -> Description:
    """2 -> 3: the description has a checksum, as the tensors had before."""
    return sealed({**description, "schema_version": 3})


def _add_periodicity(description: Description) -> Description:
    """3 -> 4: the provenance has the periodic directions of the training frames, unknown in version 3."""
    provenance = {**description["provenance"], "periodic_directions": []}
    return sealed({**description, "provenance": provenance, "schema_version": 4})


def _add_scores(description: Description) -> Description:
    """4 -> 5: the scores of the calibration frames are kept, unknown in version 4."""
    return sealed({**description, "calibration_scores": None, "schema_version": 5})


UPGRADES: dict[int, Callable[[Description], Description]] = {
    1: _add_powers,
    2: _seal,
    3: _add_periodicity,
    4: _add_scores,
}
