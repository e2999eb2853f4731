"""Run a validation: every check of every structure with reference and models; results are written after each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from al_loop.config.validation_settings import ToleranceSettings
from al_loop.errors import CampaignError
from al_loop.tools.validation.cache import ValuesCache
from al_loop.tools.validation.checks import NamedCheck
from al_loop.tools.validation.comparison import Key, compare
from al_loop.tools.validation.dataset_reference import DatasetReference
from al_loop.tools.validation.models import ValidatedModel
from al_loop.tools.validation.quantity import Values
from al_loop.tools.validation.reference import Reference, write_reference
from al_loop.tools.validation.results import Validation
from al_loop.utils.progress import Progress
from dft_interfaces.files.atomic_write import write_whole

LABELLED_FRAMES = "labelled frames"


@dataclass(frozen=True)
class ValidationRun:
    """One validation.

    Attributes:
        models: the one that is validated first.
        structures: by name.
        checks: with their settings.
        reference: to compare with.
        tolerances: of the comparison.
        output: ``validation.json``.
        reference_output: file for the quantities of the reference, for later use.
        folder: cached results of the models.
    """

    models: Sequence[ValidatedModel]
    structures: Mapping[str, Atoms]
    checks: Sequence[NamedCheck]
    reference: Reference
    tolerances: ToleranceSettings
    output: Path
    reference_output: Path
    folder: Path

    def run(self, progress: Progress) -> Validation:
        """Run all checks and write the results after each; models are only run where the reference has values.

        Earlier results with the same weights or level of theory are read from disk.

        Raises:
            CampaignError: the results cannot be written.
        """
        tasks = [(check, name, atoms) for check in self.checks for name, atoms in self.structures.items()]
        if isinstance(self.reference, DatasetReference):
            tasks.append((self.reference.frames_check(), LABELLED_FRAMES, self.reference.frames[0].atoms))
        reference: dict[Key, Values] = {}
        models: dict[str, dict[Key, Values]] = {model.name: {} for model in self.models}
        validation = self._validation(reference, models, complete=not tasks)
        with progress.stage("validate", total=len(tasks) * (1 + len(models)), unit="checks") as advance:
            for check, structure, atoms in tasks:
                key = check.name, structure
                known = reference[key] = self.reference.values(check, structure, atoms)
                advance(1)
                for model in self.models:
                    models[model.name][key] = self._values(model, check, atoms) if known.any_known else Values()
                    advance(1)
                validation = self._validation(reference, models, complete=len(reference) == len(tasks))
                self._write(
                    validation, [(*task, values) for task, values in zip(tasks, reference.values(), strict=False)]
                )
        return validation

    def _validation(
        self, reference: Mapping[Key, Values], models: Mapping[str, Mapping[Key, Values]], *, complete: bool
    ) -> Validation:
        return Validation(
            compare(reference, models, self.tolerances),
            f"{self.reference.name}: {self.reference.level}",
            tuple(check.name for check in self.checks),
            complete,
        )

    def _values(self, model: ValidatedModel, check: NamedCheck, atoms: Atoms) -> Values:
        cache = ValuesCache(self.folder)
        values = cache.get(model.fingerprint, check, atoms)
        if values is None:
            values = check.run(atoms, model.calculator)
            if not values.failure:
                cache.put(model.fingerprint, check, atoms, values)
        return values

    def _write(self, validation: Validation, values: Sequence[tuple[NamedCheck, str, Atoms, Values]]) -> None:
        try:
            write_whole(self.output, json.dumps(validation.as_dict(), indent=1, ensure_ascii=False, allow_nan=False))
            write_reference(self.reference_output, self.reference, values)
        except OSError as error:
            raise CampaignError(
                f"{self.output} cannot be written ({error.strerror or error}); free space and run the same command "
                "again: finished calculations are kept"
            ) from error
