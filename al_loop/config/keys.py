"""The valid keys of a config, as a tree of dotted paths, and the docstring of each, read from the source on demand.

Pydantic's ``use_attribute_docstrings`` would take half a second in every command that reads a config, for texts that
only the schema and some messages show.
"""

import ast
import difflib
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from al_loop.config import Config

Docs = dict[str, str]
Location = Sequence[int | str]


def field_docs(model: type[BaseModel]) -> Docs:
    """Return field -> docstring of a settings class and its bases; empty if the source is not available."""
    docs: Docs = {}
    for base in reversed(model.__mro__):
        docs |= _docs_in(base.__module__).get(base.__qualname__, {})
    return {name: text for name, text in docs.items() if name in model.model_fields}


class DescribedSchema(GenerateJsonSchema):
    """Pydantic's JSON schema with a description for each field that has a docstring."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        """Return the schema of one settings class."""
        described = super().model_schema(schema)
        properties = described.get("properties", {})
        for name, text in field_docs(schema["cls"]).items():
            properties[name].setdefault("description", text)
        return described


@cache
def _docs_in(module: str) -> dict[str, Docs]:
    """Class -> field -> docstring of all top-level classes of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # built in, or shipped without source
        return {}
    return {node.name: _below_fields(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _below_fields(node: ast.ClassDef) -> Docs:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@dataclass(frozen=True)
class Place:
    """A place in the config.

    Attributes:
        dotted: the path as users read it, for example ``systems[0].file``.
        models: the settings classes that are valid here; empty for a plain value.
        owner: the settings class with the field of this place; None at the top and below free-form values.
        name: name of that field.
    """

    dotted: str
    models: tuple[type[BaseModel], ...]
    owner: type[BaseModel] | None = None
    name: str = ""

    @property
    def field(self) -> FieldInfo | None:
        """The field of this place."""
        return self.owner.model_fields[self.name] if self.owner else None

    @property
    def keys(self) -> list[str]:
        """Valid keys of the block at this place."""
        return sorted({name for model in self.models for name in model.model_fields})

    @property
    def description(self) -> str:
        """The field's documentation, in one line."""
        text = field_docs(self.owner).get(self.name, "") if self.owner else ""
        return " ".join(text.replace("``", "").split()).rstrip(".")


def place_at(location: Location) -> Place:
    """Follow a pydantic error location, leaving out tags of discriminated unions."""
    place = Place("", (Config,))
    for part in location:
        place = _step(place, part)
    return place


def _step(place: Place, part: int | str) -> Place:
    if isinstance(part, int):
        return replace(place, dotted=f"{place.dotted}[{part}]")
    tagged = tuple(model for model in place.models if part in _tags(model))
    if tagged and not any(part in model.model_fields for model in place.models):
        return replace(place, models=tagged)
    dotted = f"{place.dotted}.{part}" if place.dotted else part
    for model in place.models:
        if part in model.model_fields:
            return Place(dotted, tuple(_models_in(model.model_fields[part].annotation)), model, part)
    return Place(dotted, ())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """Discriminator values of a settings class (``kind: sevennet``, ``engine: pyscf``)."""
    for name in ("kind", "engine"):
        if name in model.model_fields:
            return tuple(str(value) for value in get_args(model.model_fields[name].annotation))
    return ()


def suggest(key: str, place: Place) -> str:
    """Return a hint on an unknown key: a similar key, or the valid keys."""
    elsewhere = sorted(dotted for dotted in _all_keys() if dotted.rsplit(".", 1)[-1] == key)
    if elsewhere:
        return f"it belongs elsewhere: '{elsewhere[0]}'"
    prefix = f"{place.dotted}." if place.dotted else ""
    close = difflib.get_close_matches(key.lower(), [name.lower() for name in place.keys], n=1, cutoff=0.6)
    if close:
        name = next(name for name in place.keys if name.lower() == close[0])
        return f"did you mean '{prefix}{name}'?"
    return f"valid keys here: {', '.join(place.keys)}"


def nearest(word: str, valid: Sequence[str]) -> str:
    """Return `` (did you mean 'x'?)``, or an empty text if no valid word is similar."""
    close = difflib.get_close_matches(word.lower(), valid, n=1, cutoff=0.7)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _all_keys() -> Iterator[str]:
    """Dotted paths of all keys of all blocks."""
    pending: list[tuple[str, type[BaseModel]]] = [("", Config)]
    while pending:
        prefix, model = pending.pop()
        for name, field in model.model_fields.items():
            yield f"{prefix}{name}"
            pending += [(f"{prefix}{name}.", inner) for inner in _models_in(field.annotation)]
