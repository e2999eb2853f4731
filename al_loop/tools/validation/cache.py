"""Results of one check of one structure with one calculator, cached on disk."""

import json
import logging
from pathlib import Path

from ase import Atoms

from al_loop.errors import InputError
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.quantity import Values
from al_loop.utils.content_hash import canonical_order, content_id, frame_id
from al_loop.utils.foreign_input import reading
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import sealed, unsealed

_logger = logging.getLogger(__name__)


def structure_id(atoms: Atoms) -> str:
    """SHA-256 (32 hex digits) of a structure, of the order of its atoms and of its constraints."""
    held = [constraint.todict() for constraint in atoms.constraints]
    return content_id(frame_id(atoms), canonical_order(atoms).tolist(), json.dumps(held, default=repr))


class ValuesCache:
    """Cached results, by a hash of calculator (model or level of theory), settings and structure.

    Args:
        folder: created with the first result.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, calculator: str, check: NamedCheck, atoms: Atoms) -> Values | None:
        """Return the cached result; None if there is none or its checksum does not match."""
        path = self._path(calculator, check, atoms)
        if not path.exists():
            return None
        try:
            with reading(path, "its check is made again"):
                return Values.from_dict(unsealed(path.read_text(encoding="utf-8")))
        except InputError as error:
            _logger.warning("%s", error)
            return None

    def put(self, calculator: str, check: NamedCheck, atoms: Atoms, values: Values) -> None:
        """Write a result to the cache, atomically; raises ``OSError`` if the disk is full, for example."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(calculator, check, atoms), sealed(values.as_dict(), allow_nan=True))

    def _path(self, calculator: str, check: NamedCheck, atoms: Atoms) -> Path:
        return self._folder / f"{content_id('values', calculator, check.fingerprint, structure_id(atoms))}.json"
