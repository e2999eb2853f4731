"""Results of one check of one structure with one calculator, cached on disk."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from ase import Atoms

from al_loop.errors import InputError
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.quantity import Quantity
from al_loop.utils.content_hash import canonical_order, content_id, frame_id
from al_loop.utils.foreign_input import reading
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import sealed, unsealed

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Quantities of one check.

    Attributes:
        quantities: measured values; empty if there are none.
        failure: the reason if there are none, else empty.
    """

    quantities: tuple[Quantity, ...] = ()
    failure: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing failed, in whole or in part."""
        return not self.failure and all(quantity.value is not None for quantity in self.quantities)

    @property
    def says_something(self) -> bool:
        """Whether it has any value to compare with."""
        return any(quantity.value is not None for quantity in self.quantities)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"quantities": [asdict(quantity) for quantity in self.quantities], "failure": self.failure}

    def of_structure(self, structure: str) -> Self:
        """Return the result under the present name of the structure: cached results are found by its atoms."""
        return replace(self, quantities=tuple(_renamed(quantity, structure) for quantity in self.quantities))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of ``as_dict``; data of another shape raise whatever they do, see ``foreign.reading``."""
        return cls(tuple(_quantity(one) for one in data["quantities"]), str(data["failure"]))


def structure_id(atoms: Atoms) -> str:
    """SHA-256 (32 hex digits) of a structure, of the order of its atoms and of its constraints."""
    held = [constraint.todict() for constraint in atoms.constraints]
    return content_id(frame_id(atoms), canonical_order(atoms).tolist(), json.dumps(held, default=repr))


class AnswerStore:
    """Cached results, by a hash of calculator, settings and structure.

    Args:
        folder: created with the first result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, who: str, check: NamedCheck, atoms: Atoms) -> Answer | None:
        """Return the cached result; None if there is none or its checksum does not match."""
        path = self._path(who, check, atoms)
        if not path.exists():
            return None
        try:
            with reading(path, "its check is made again"):
                return Answer.from_dict(unsealed(path.read_text(encoding="utf-8")))
        except InputError as error:
            _logger.warning("%s", error)
            return None

    def put(self, who: str, check: NamedCheck, atoms: Atoms, answer: Answer) -> None:
        """Write a result to the cache, atomically.

        Args:
            who: fingerprint of the model or of the level of theory.
            check: with its settings.
            atoms: the structure.
            answer: the result.

        Raises:
            OSError: a full disk, for example.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(who, check, atoms), sealed(answer.as_dict(), allow_nan=True))

    def _path(self, who: str, check: NamedCheck, atoms: Atoms) -> Path:
        return self._folder / f"{content_id('answer', who, check.fingerprint, structure_id(atoms))}.json"


def _renamed(quantity: Quantity, structure: str) -> Quantity:
    group, before = quantity.order_group, quantity.structure
    if before and group.endswith(f" {before}"):
        group = f"{group.removesuffix(before)}{structure}"
    return replace(quantity, structure=structure, order_group=group)


def _quantity(data: dict[str, Any]) -> Quantity:
    value = data["value"]
    texts = {key: str(data[key]) for key in ("check", "structure", "name", "unit", "order_group", "note")}
    return Quantity(**texts, value=None if value is None else float(value))
