"""Strict YAML: duplicate keys are errors, ``3e-3`` is a number, and no code is ever executed."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading, reason_of
from al_loop.utils.paths import check_source

MOST_VALUES = 100_000
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_OTHER_BASE = re.compile(r"^[-+]?(?:0[0-7_]+$|[0-9][0-9_]*:)")


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses duplicate keys and reads exponents without a decimal point."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is given twice; keep one of the two", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        for part in (part for pair in node.value for part in pair):
            _refuse_odd_integers(part)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_sequence(self, node: yaml.SequenceNode, deep: bool = False) -> list[Any]:
        for part in node.value:
            _refuse_odd_integers(part)
        values: list[Any] = super().construct_sequence(node, deep=deep)
        return values


def _refuse_odd_integers(node: yaml.Node) -> None:
    """Refuse what YAML 1.1 takes for numbers of another base: ``0300`` (octal) and ``1:30`` (of sixty).

    Raises:
        ConstructorError: naming the number and what to write.
    """
    if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and _OTHER_BASE.match(node.value):
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"{node.value} is of another base in YAML; write it without leading 0 and ':'",
            node.start_mark,
        )


# PyYAML follows YAML 1.1, where a number with an exponent but no decimal point is a string.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: the file is missing, unreadable, a folder, not YAML, not a mapping, or has a duplicate key.
    """
    text = _read_text(path)
    try:
        _refuse_bombs(yaml.compose(text, Loader=_StrictLoader))
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derived from the safe loader
        json.dumps(data, default=str, skipkeys=True)  # refuses anchors that contain themselves
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{path} is not valid YAML{where}: {error.problem}") from error
    except Exception as error:
        raise InputError(f"{path} is not valid YAML: {reason_of(error)}") from error
    if data is None:
        raise InputError(f"{path} is empty; start from a template: al-loop template molecule --output {path}")
    if not isinstance(data, dict):
        raise InputError(
            f"{path} holds {_kind(data)} at its top level, expected 'key: value' lines;"
            " see al-loop template for a complete example"
        )
    return data


def _refuse_bombs(root: yaml.Node | None) -> None:
    """Refuse aliases that expand to more values than any config holds, or to themselves.

    Raises:
        YAMLError: the file has such aliases.
    """
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = MOST_VALUES + 1  # the size if the node contains itself
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        sizes[id(node)] = min(1 + sum(map(size, pairs)), MOST_VALUES + 1)
        return sizes[id(node)]

    if root is not None and size(root) > MOST_VALUES:
        raise yaml.YAMLError(f"Circular aliases, or aliases that expand to more than {MOST_VALUES} values")


def _read_text(path: Path) -> str:
    with reading(path, "name a config file (YAML) that you may read"):
        if not path.exists():
            raise InputError(
                f"no config file {path}; check the path, or write one with: al-loop template molecule --output {path}"
            )
        check_source(str(path), path, "expected a config file (YAML)")
        return path.read_text(encoding="utf-8")


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return f"a single value ({str(value)[:40]!r})"
