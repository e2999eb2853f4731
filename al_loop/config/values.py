"""Values of a config as the user wrote them, and values that would be misread."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from al_loop.config.keys import place_at
from al_loop.utils.redaction import mask_uri

_LONGEST = 60  # characters of a received value that are shown


def show(value: object) -> str:
    """Return ``value`` as a user wrote it, cut to a readable length."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else mask_uri(repr(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def misread_values(data: object, location: tuple[int | str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (key, message) of values that pydantic accepts silently: booleans for numbers, infinity, NaN."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from misread_values(value, (*location, str(key)))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from misread_values(value, (*location, index))
    elif isinstance(data, bool) or (isinstance(data, float) and not math.isfinite(data)):
        place = place_at(location)
        wants = set(_leaves(place.field.annotation)) if place.field and not place.models else set()
        if wants & {int, float} and bool not in wants:
            yield place.dotted, f"{place.dotted}: expected a finite number, received {show(data)}"


def impossible_paths(data: object, dotted: str = "") -> Iterator[str]:
    """Yield messages on texts that cannot be paths: invalid characters, or the home of an unknown user."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from impossible_paths(value, f"{dotted}.{key}" if dotted else str(key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from impossible_paths(value, f"{dotted}[{index}]")
    elif isinstance(data, str) and "\0" in data:
        yield f"{dotted}: received {show(data)}, which holds a NUL character; remove it"
    elif isinstance(data, str) and not _is_text(data):
        yield f"{dotted}: received {show(data)}, which holds an incomplete Unicode character; type the text again"
    elif isinstance(data, str) and data.startswith("~") and str(_home(data)).startswith("~"):
        yield f"{dotted}: received {show(data)}, but there is no such user; write the full path"


def _is_text(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)
