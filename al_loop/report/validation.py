"""Tables of a ``validation.json`` in the campaign's folder, for display only, whatever its shape."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_loop.errors import InputError
from al_loop.utils.campaign_folder import VALIDATION_NAME
from al_loop.utils.foreign_input import reading

_MOST_BYTES, _MOST_ROWS, _MOST_DEPTH = 2_000_000, 400, 6


@dataclass(frozen=True)
class Table:
    """Rows of text under a title.

    Attributes:
        title: its place in the file.
        columns: names.
        rows: one text for each column.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


def validation_tables(folder: Path) -> list[Table]:
    """Return the tables of ``validation.json``: one for each list of records, and one for all other values.

    Without a file there are no tables; an unreadable file gives a table with the error.
    """
    path = folder / VALIDATION_NAME
    if not path.exists():
        return []
    try:
        with reading(path, "write it again with `al-loop validate`"):
            if path.stat().st_size > _MOST_BYTES:
                return [Table(VALIDATION_NAME, ["not shown"], [[f"larger than {_MOST_BYTES} bytes"]])]
            return list(_tables(json.loads(path.read_bytes()), "", 0))
    except InputError as error:
        return [Table(VALIDATION_NAME, ["not readable"], [[str(error)]])]


def _tables(value: Any, title: str, depth: int) -> Iterator[Table]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = list(dict.fromkeys(str(key) for row in value for key in row))
        rows = [[_text(row.get(column, "")) for column in columns] for row in value[:_MOST_ROWS]]
        yield Table(title or "validation", [_text(column) for column in columns], rows)
    elif isinstance(value, dict) and depth < _MOST_DEPTH:
        nested = {key: item for key, item in value.items() if isinstance(item, dict | list) and item}
        plain = {key: item for key, item in value.items() if key not in nested}
        if plain:
            rows = [[_text(key), _text(item)] for key, item in list(plain.items())[:_MOST_ROWS]]
            yield Table(title or "validation", ["", ""], rows)
        for key, item in nested.items():
            yield from _tables(item, f"{title} · {_text(key)}" if title else _text(key), depth + 1)
    else:
        yield Table(title or "validation", ["value"], [[_text(value)]])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()  # half of a pair of surrogates is JSON, and no UTF-8
