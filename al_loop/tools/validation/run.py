"""Run a validation: every check of every structure with reference and models; results are written after each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.errors import CampaignError
from al_loop.tools.validation.cache import Answer, AnswerStore
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.comparison import Answers, compare
from al_loop.tools.validation.dataset_reference import DatasetReference
from al_loop.tools.validation.models import ValidatedModel
from al_loop.tools.validation.reference import Reference, write_reference
from al_loop.tools.validation.results import Validation
from al_loop.tools.validation.run_check import run_check
from al_loop.utils.progress import Advance, Progress
from dft_interfaces.files.atomic_write import write_whole

LABELLED_FRAMES = "labelled frames"


@dataclass
class ValidationRun:
    """One validation.

    Attributes:
        subjects: the models, the one that is validated first.
        structures: by name.
        checks: with their settings.
        reference: to compare with.
        tolerances: of the comparison.
        output: ``validation.json``.
        reference_output: file for the quantities of the reference, for later use.
        folder: cached results of the models.
    """

    subjects: Sequence[ValidatedModel]
    structures: Mapping[str, Atoms]
    checks: Sequence[NamedCheck]
    reference: Reference
    tolerances: ToleranceSettings
    output: Path
    reference_output: Path
    folder: Path
    _said: list[tuple[NamedCheck, str, Atoms, Answer]] = field(default_factory=list)

    def run(self, progress: Progress) -> Validation:
        """Run all checks and write the results after each; models are only run where the reference has values.

        Earlier results with the same weights or level of theory are read from disk.

        Args:
            progress: shows the progress.

        Raises:
            CampaignError: the results cannot be written.
        """
        todo = list(self._todo())
        answers = Answers(tuple(subject.name for subject in self.subjects))
        validation = self._validation(answers, complete=not todo)
        with progress.stage("validate", total=len(todo) * (1 + len(self.subjects)), unit="checks") as advance:
            for number, (check, structure, atoms) in enumerate(todo, start=1):
                self._ask_all(answers, check, structure, atoms, advance)
                validation = self._validation(answers, complete=number == len(todo))
                self._write(validation)
        return validation

    def _todo(self) -> list[tuple[NamedCheck, str, Atoms]]:
        listed = [(check, name, atoms) for check in self.checks for name, atoms in self.structures.items()]
        if isinstance(self.reference, DatasetReference):
            listed.append((self.reference.frames_check(), LABELLED_FRAMES, self.reference.frames[0].atoms))
        return listed

    def _ask_all(self, answers: Answers, check: NamedCheck, structure: str, atoms: Atoms, advance: Advance) -> None:
        key = check.name, structure
        reference = self.reference.answer(check, structure, atoms).of_structure(structure)
        answers.reference[key] = reference
        self._said.append((check, structure, atoms, reference))
        advance(1)
        for subject in self.subjects:
            said = self._answer(subject, check, structure, atoms) if reference.says_something else Answer()
            answers.of_models.setdefault(subject.name, {})[key] = said
            advance(1)

    def _answer(self, subject: ValidatedModel, check: NamedCheck, structure: str, atoms: Atoms) -> Answer:
        store = AnswerStore(self.folder)
        known = store.get(subject.fingerprint, check, atoms)
        if known is None:
            known = run_check(check, structure, atoms, subject.calculator)
            if not known.failure:
                store.put(subject.fingerprint, check, atoms, known)
        return known.of_structure(structure)

    def _validation(self, answers: Answers, *, complete: bool) -> Validation:
        return Validation(
            compare(answers, self.tolerances),
            f"{self.reference.name}: {self.reference.level}",
            tuple(check.name for check in self.checks),
            complete,
        )

    def _write(self, validation: Validation) -> None:
        try:
            write_whole(self.output, json.dumps(validation.as_dict(), indent=1, ensure_ascii=False, allow_nan=False))
            write_reference(self.reference_output, self.reference, self._said)
        except OSError as error:
            raise CampaignError(
                f"{self.output} cannot be written ({error.strerror or error}); free space and run the same command "
                "again: finished calculations are kept"
            ) from error
