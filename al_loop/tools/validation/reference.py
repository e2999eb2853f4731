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
from al_loop.tools.validation.cache import Answer, AnswerStore, structure_id
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.run_check import run_check
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

    def answer(self, check: NamedCheck, structure: str, atoms: Atoms) -> Answer:
        """Return the result of one check of one structure; a missing one is a failure with its reason."""
        ...

    def close(self) -> None:
        """Close everything that was opened."""
        ...


class EngineReference:
    """An engine of ``dft_interfaces``, with the limits and retries of a ``label`` block, on this machine.

    Args:
        settings: the block.
        folder: where labels and answers are kept.
        advance: called with 1 for each label.

    Raises:
        InputError: the block has a queue, or asks for more cores than there are.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
    """

    pays = True

    def __init__(self, settings: LabelSettings, folder: Path, advance: Advance = show_nothing) -> None:
        self._labeller = Labeller(settings, folder / "labels")
        self._store = AnswerStore(folder / "answers")
        self._advance = advance
        self.name: str = settings.engine.engine
        self.level = self._labeller.level.summary
        self._fingerprint = self._labeller.level.fingerprint

    def check_elements(self, frames: Sequence[Atoms]) -> None:
        """Refuse elements that the engine is known not to calculate."""
        self._labeller.check_elements(frames)

    def answer(self, check: NamedCheck, structure: str, atoms: Atoms) -> Answer:
        """See ``Reference.answer``. What failed is run_check again by the next run, from the labels that are kept."""
        known = self._store.get(self._fingerprint, check, atoms)
        if known is None:
            known = run_check(check, structure, atoms, LabelCalculator(self._labeller, lambda *_: self._advance(1)))
            if known.complete:
                self._store.put(self._fingerprint, check, atoms, known)
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
        self._answers: dict[tuple[str, str], tuple[str, Answer]] = {}
        with reading(f"reference {path}", _NAME_IT):
            data = _read(path)
            self.name = str(data["name"])
            self.level = str(data["level"])
            for entry in data["answers"]:
                key = str(entry["check"]), str(entry["structure_id"])
                self._answers[key] = str(entry["settings"]), Answer.from_dict(entry)

    def answer(self, check: NamedCheck, structure: str, atoms: Atoms) -> Answer:
        """See ``Reference.answer``; the structure is known by its atoms, whatever its name was."""
        settings, known = self._answers.get((check.name, structure_id(atoms)), ("", None))
        if known is None:
            return Answer(failure=f"the stored reference holds no {check.name} of this structure ({structure})")
        if settings != check.fingerprint:
            return Answer(failure=f"the stored reference has {check.name} with other settings")
        return known

    def close(self) -> None:
        """Nothing is open."""


def write_reference(path: Path, reference: Reference, answers: Sequence[tuple[NamedCheck, str, Atoms, Answer]]) -> None:
    """Write the quantities of a reference, for later validations and for ``promote.validation``.

    Args:
        path: the file, replaced as a whole.
        reference: whose answers they are.
        answers: check, name of the structure, the structure, what was said.

    Raises:
        OSError: a full disk, for example.
    """
    entries = [
        {
            "check": check.name,
            "settings": check.fingerprint,
            "structure": structure,
            "structure_id": structure_id(atoms),
            **answer.as_dict(),
        }
        for check, structure, atoms, answer in answers
    ]
    told = {"kind": KIND, "schema": SCHEMA, "name": reference.name, "level": reference.level, "answers": entries}
    write_whole(path, json.dumps(told, indent=1, ensure_ascii=False))


def _read(path: Path) -> Mapping[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise InputError(f"reference {path}: not a reference; name a {REFERENCE_NAME} written by al-loop validate")
    if data.get("schema") != SCHEMA or not {"name", "level", "answers"} <= set(data):
        raise InputError(
            f"reference {path}: of schema {data.get('schema')}, expected {SCHEMA}; write it with al-loop validate"
        )
    return data
