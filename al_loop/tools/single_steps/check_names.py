"""The checks of a validation, as a caller names them."""

from collections.abc import Mapping, Sequence
from typing import Any

from al_loop.config.keys import nearest
from al_loop.config.validation_settings import CHECK_NAMES
from al_loop.errors import InputError

CheckSettings = Mapping[str, Any]
ChecksArgument = str | Sequence[str] | Mapping[str, CheckSettings]
"""Names with commas, ``all``, a sequence of names, or settings by name."""


def named_checks(checks: ChecksArgument | None) -> dict[str, CheckSettings]:
    """Return the settings of each check by its name; none for those that are made by default.

    Raises:
        InputError: a name of no check, or text without a name.
    """
    if checks is None:
        return {}
    given = checks if isinstance(checks, Mapping) else {name: {} for name in _names(checks)}
    for name in given:
        if name not in CHECK_NAMES:
            guess = nearest(name, CHECK_NAMES)
            raise InputError(f"--checks: unknown check {name!r}{guess}; valid: all, {', '.join(CHECK_NAMES)}")
    if not given:
        raise InputError(f"--checks: received {checks!r}, expected comma-separated names: {', '.join(CHECK_NAMES)}")
    return dict(given)


def _names(checks: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(checks, str):
        return checks
    return CHECK_NAMES if checks.strip() == "all" else [word.strip() for word in checks.split(",") if word.strip()]
