"""References of a validation: an engine, labelled frames, or the quantities of an earlier validation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms

from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.stages.label.ase_calculator import LabelCalculator
from al_loop.stages.label.direct import Labeller
from al_loop.tools.validation.cache import ValuesCache, structure_id
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.quantity import Values
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source
from al_loop.utils.progress import Advance, show_nothing
from dft_interfaces.files.atomic_write import write_whole

SCHEMA = 1
KIND = "al-loop validation reference"
REFERENCE_NAME = "validation-reference.json"
_NAME_IT = f"name a complete {REFERENCE_NAME} written by al-loop validate"


class Reference(Protocol):
    """Provides the reference values of checks.

    Attributes:
        name: in tables.
        level: level of theory as text.
        pays: calculations are expensive, so that few checks are run by default.
    """

    name: str
    level: str
    pays: bool

    def values(self, check: NamedCheck, structure: str, atoms: Atoms) -> Values:
        """Return the result of one check of one structure; a missing one is a failure with its reason."""
        ...


class EngineReference:
    """An engine of ``dft_interfaces``, with the limits and retries of a ``label`` block, on this machine.

    Args:
        settings: the block.
        folder: where labels and results are kept.
        advance: called with 1 for each label.

    Raises:
        InputError: the block has a queue, or asks for more cores than there are.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
    """

    pays = True

    def __init__(self, settings: LabelSettings, folder: Path, advance: Advance = show_nothing) -> None:
        self._labeller = Labeller(settings, folder / "labels")
        self._cache = ValuesCache(folder / "values")
        self._advance = advance
        self.name: str = settings.engine.engine
        self.level = self._labeller.level.summary
        self._fingerprint = self._labeller.level.fingerprint

    def check_elements(self, frames: Sequence[Atoms]) -> None:
        """Refuse elements that the engine is known not to calculate."""
        self._labeller.check_elements(frames)

    def values(self, check: NamedCheck, structure: str, atoms: Atoms) -> Values:
        """See ``Reference.values``. What failed is calculated again by the next run, from the labels that are kept."""
        del structure  # its name
        known = self._cache.get(self._fingerprint, check, atoms)
        if known is None:
            known = check.run(atoms, LabelCalculator(self._labeller, lambda *_: self._advance(1)))
            if known.complete:
                self._cache.put(self._fingerprint, check, atoms, known)
        return known

    def close(self) -> None:
        """End the engine's process."""
        self._labeller.close()


class StoredReference:
    """Quantities that an earlier validation wrote.

    Args:
        path: its ``validation-reference.json``.

    Raises:
        InputError: no such file, or none of this kind.
    """

    pays = False

    def __init__(self, path: Path) -> None:
        check_source(f"reference {path}", path, _NAME_IT)
        self._values: dict[tuple[str, str], tuple[str, Values]] = {}
        with reading(f"reference {path}", _NAME_IT):
            data = _read(path)
            self.name = str(data["name"])
            self.level = str(data["level"])
            for entry in data["values"]:
                key = str(entry["check"]), str(entry["structure_id"])
                self._values[key] = str(entry["settings"]), Values.from_dict(entry)

    def values(self, check: NamedCheck, structure: str, atoms: Atoms) -> Values:
        """See ``Reference.values``; the structure is known by its atoms, whatever its name was."""
        settings, known = self._values.get((check.name, structure_id(atoms)), ("", None))
        if known is None:
            return Values(failure=f"the stored reference holds no {check.name} of this structure ({structure})")
        if settings != check.fingerprint:
            return Values(failure=f"the stored reference has {check.name} with other settings")
        return known


def write_reference(path: Path, reference: Reference, values: Sequence[tuple[NamedCheck, str, Atoms, Values]]) -> None:
    """Write the quantities of a reference, for later validations and for ``promote.validation``.

    Args:
        path: the file, replaced as a whole.
        reference: whose values they are.
        values: check, name of the structure, the structure, its result.

    Raises:
        OSError: a full disk, for example.
    """
    entries = [
        {
            "check": check.name,
            "settings": check.fingerprint,
            "structure": structure,
            "structure_id": structure_id(atoms),
            **found.as_dict(),
        }
        for check, structure, atoms, found in values
    ]
    data = {"kind": KIND, "schema": SCHEMA, "name": reference.name, "level": reference.level, "values": entries}
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False))


def _read(path: Path) -> Mapping[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(f"reference {path}: not a reference; name a {REFERENCE_NAME} written by al-loop validate")
    if data.get("schema") != SCHEMA or not {"name", "level", "values"} <= set(data):
        raise InputError(
            f"reference {path}: of schema {data.get('schema')}, expected {SCHEMA}; write it with al-loop validate"
        )
    return data
