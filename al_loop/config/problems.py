"""Readable messages for validation errors: what was received, what was expected, what to do."""

import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, get_args

from pydantic import ValidationError

from al_loop.config.keys import Location, Place, nearest, place_at, suggest
from al_loop.utils.redaction import mask_uri

_LONGEST = 60  # characters of a received value that are shown
_UNITS = {  # endings of key names, longest first
    "_eV_per_A3": "eV/Å³",
    "_eV_per_A": "eV/Å",
    "_per_ps": "1/ps",
    "_eV": "eV",
    "_fs": "fs",
    "_K": "K",
    "_A": "Å",
    "_s": "s",
}
_NUMBER_WITH_UNIT = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-zÅµ/^°%][^\s]*)\s*$")
_MAPPING_EXPECTED = ("model_type", "model_attributes_type", "dict_type")
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text (put it in quotes if YAML reads it as something else)",
    "path_type": "the path of a file or folder",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": "must be above {gt:g}{about}",
    "greater_than_equal": "must be at least {ge:g}{about}",
    "less_than": "must be below {lt:g}{about}",
    "less_than_equal": "must be at most {le:g}{about}",
    "too_short": "expected at least one entry{about}",
    "too_long": "expected {max_length} values",
    "string_pattern_mismatch": "which is not allowed{about}",
}


def show(value: object) -> str:
    """Return ``value`` as a user wrote it, cut to a readable length."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else mask_uri(repr(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def misread_values(data: object) -> Iterator[tuple[str, str]]:
    """Yield (key, message) of values that pydantic accepts silently: booleans for numbers, infinity, NaN."""
    for location, value in _values(data):
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            place = place_at(location)
            wants = set(_leaves(place.field.annotation)) if place.field and not place.models else set()
            if wants & {int, float} and bool not in wants:
                yield place.dotted, f"{place.dotted}: expected a finite number, received {show(value)}"


def impossible_paths(data: object) -> Iterator[str]:
    """Yield messages on texts that cannot be paths: invalid characters, or the home of an unknown user."""
    for location, value in _values(data):
        if not isinstance(value, str):
            continue
        received = f"{place_at(location).dotted}: received {show(value)}"
        if "\0" in value:
            yield f"{received}, which holds a NUL character; remove it"
        elif not _is_text(value):
            yield f"{received}, which holds an incomplete Unicode character; type the text again"
        elif value.startswith("~") and os.path.expanduser(value).startswith("~"):  # noqa: PTH111 - Path raises
            yield f"{received}, but there is no such user; write the full path"


def _values(data: object, location: Location = ()) -> Iterator[tuple[Location, object]]:
    """Yield every value that is neither a block nor a list, with its location."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _values(value, (*location, str(key)))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _values(value, (*location, index))
    else:
        yield location, data


def _is_text(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def explain(error: ValidationError | None, data: object) -> list[str]:
    """Return one sentence per problem of ``data``, whose validation raised ``error``."""
    misread = dict(misread_values(data))
    details = error.errors(include_url=False) if error else []
    broken = {tuple(detail["loc"]) for detail in details}
    explained = [
        _explain_one(detail) for detail in details if not _is_echo(detail, broken) and not _is_misread(detail, misread)
    ]
    return explained + list(misread.values())


def _is_misread(detail: Any, misread: Collection[str]) -> bool:
    """Whether a misread value, which has its own message, causes this error."""
    dotted = place_at(detail["loc"]).dotted
    if detail["type"] == "value_error":
        return any(place.startswith(dotted) for place in misread)
    return dotted in misread


def _is_echo(detail: Any, broken: set[Any]) -> bool:
    """Whether pydantic reports a list as too short only because it dropped its invalid items."""
    location = tuple(detail["loc"])
    return (
        detail["type"] == "too_short"
        and bool(detail["input"])
        and any(other[: len(location)] == location and other != location for other in broken)
    )


def _explain_one(detail: Any) -> str:
    place = place_at(detail["loc"])
    kind: str = detail["type"]
    if kind in _MAPPING_EXPECTED:
        return _not_a_block(place, detail["input"])
    if kind in _EXPECTED:
        return _wrong_type(place, detail["input"], _EXPECTED[kind])
    if kind in _BOUNDS:
        expected = _BOUNDS[kind].format(about=_about(place), **detail["ctx"])
        return f"{place.dotted}: received {show(detail['input'])}, {expected}"
    explained = _EXPLANATIONS.get(kind)
    if explained is not None:
        return explained(place, detail)
    return f"{place.dotted or 'config'}: {detail['msg']}, received {show(detail['input'])}"


def _about(place: Place) -> str:
    return f" ({place.description})" if place.description else ""


def _unknown_key(place: Place, detail: Any) -> str:
    parent = place_at(detail["loc"][:-1])
    return f"{place.dotted}: unknown key; {suggest(str(detail['loc'][-1]), parent)}"


def _missing(place: Place, detail: Any) -> str:
    if isinstance(detail["loc"][-1], int):
        return f"{place_at(detail['loc'][:-1]).dotted}: too few values, received {show(detail['input'])}"
    example = "" if place.description or len(detail["loc"]) > 1 else "; al-loop template shows an example"
    return f"{place.dotted}: missing; add it{_about(place)}{example}"


def _value_error(place: Place, detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    begins_with_key = re.split(r"\W", message, maxsplit=1)[0] in place.keys
    return f"{place.dotted}{'.' if begins_with_key else ': '}{message}" if place.dotted else message


_FOR_ANY_OTHER = {
    "ase": ". For any other code (ORCA, CP2K, FHI-aims) use engine: ase with its ASE calculator",
    "calculator": ". For UMA and eSEN use kind: fairchem; for any other model (MACE, PFP) use kind: calculator",
}
"""Hints on names that are not listed, by the last valid name."""


def _unknown_tag(place: Place, detail: Any) -> str:
    key, tag = detail["ctx"]["discriminator"].strip("'"), detail["ctx"]["tag"]
    valid = [name.strip(" '") for name in detail["ctx"]["expected_tags"].split(",")]
    message = f"{place.dotted}.{key}: unknown {key} {tag!r}{nearest(tag, valid)}; valid: {', '.join(valid)}"
    return message + _FOR_ANY_OTHER.get(valid[-1], "")


def _no_tag(place: Place, detail: Any) -> str:
    key = detail["ctx"]["discriminator"].strip("'")
    received = list(detail["input"]) if isinstance(detail["input"], dict) else detail["input"]
    return f"{place.dotted}.{key}: missing, received only {show(received)}; valid: {', '.join(_valid_tags(place, key))}"


def _valid_tags(place: Place, key: str) -> list[str]:
    return [str(tag) for model in place.models for tag in get_args(model.model_fields[key].annotation)]


def _not_a_list(place: Place, detail: Any) -> str:
    value = detail["input"]
    match = _NUMBER_WITH_UNIT.match(value) if isinstance(value, str) else None
    number = match.group(1) if match else value
    unit = f"; {_without_unit(place)}" if match else ""
    example = f", for example [{number}]" if isinstance(number, (int, float)) or match else ""
    return f"{place.dotted}: expected a list{example}, received {show(value)}{unit}"


def _literal(place: Place, detail: Any) -> str:
    valid = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
    value = detail["input"]
    return f"{place.dotted}: unknown value {show(value)}{nearest(str(value), valid)}; valid: {', '.join(valid)}"


def _wrong_type(place: Place, value: object, expected: str) -> str:
    match = _NUMBER_WITH_UNIT.match(value) if isinstance(value, str) else None
    if match and "number" in expected:
        return (
            f"{place.dotted}: expected a number, received {show(value)}; {_without_unit(place)}: write {match.group(1)}"
        )
    return f"{place.dotted}: expected {expected}, received {show(value)}{_about(place)}"


def _without_unit(place: Place) -> str:
    key = re.sub(r"\[\d+\]$", "", place.dotted).rsplit(".", 1)[-1]
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), None)
    if unit is None:
        return "give the number without a unit"
    return f"give the number without a unit (the key's name states it: {unit})"


def _not_a_block(place: Place, value: object) -> str:
    keys = place.keys
    if not keys:
        return f"{place.dotted}: expected 'key: value' lines, received {show(value)}"
    tag = next((key for key in ("kind", "engine") if key in keys), keys[0])
    example = value if isinstance(value, str) else "..."
    return (
        f"{place.dotted or 'config'}: expected a block with the keys {', '.join(keys)},"
        f" received {show(value)}; write '{tag}: {example}' on an indented line below it"
    )


_EXPLANATIONS: dict[str, Callable[[Place, Any], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "value_error": _value_error,
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _no_tag,
    "tuple_type": _not_a_list,
    "literal_error": _literal,
}
