"""The models of a campaign: one checkpoint for each round that trained one, compared with its recorded checksum."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from al_loop.utils.campaign_folder import MODELS
from committee.backbones.contract import Backbone
from committee.checkpoint import check_content, content_hash, load, save
from committee.errors import CheckpointError
from committee.potential import CommitteePotential


class ModelRecord(Protocol):
    """Record of a model: the round that trained it, and the SHA-256 of its files."""

    @property
    def round(self) -> int: ...  # noqa: D102
    @property
    def checkpoint(self) -> str: ...  # noqa: D102


class ModelRecords(Protocol):
    """Store of the records of models; the ledger implements it."""

    def add_model(self, round_: int, path: str, fingerprint: str, checkpoint: str, info: dict[str, Any]) -> str: ...  # noqa: D102
    def models(self) -> Sequence[ModelRecord]: ...  # noqa: D102
    def served_model(self, before: int | None = None) -> ModelRecord | None: ...  # noqa: D102
    def event(self, kind: str, message: str, round_: int | None = None) -> object: ...  # noqa: D102


class Models:
    """Keeps and opens models.

    The ``foundation`` is served before the first promotion; ``remake`` trains the model of a round again, from its
    labels.
    """

    def __init__(
        self,
        campaign_folder: Path,
        foundation: CommitteePotential,
        records: ModelRecords,
        remake: Callable[[int], CommitteePotential],
    ) -> None:
        self._folder = campaign_folder / MODELS
        self._foundation, self._records, self._remake = foundation, records, remake
        self._served: tuple[int, CommitteePotential] | None = None  # by the round that trained it

    def keep(self, potential: CommitteePotential, round_: int) -> str:
        """Write the model of a round and record its checksum; returns its id in the records."""
        self._folder.mkdir(exist_ok=True)
        path = self._path(round_)
        shutil.rmtree(path, ignore_errors=True)  # leftovers of a crash or damage would not be replaced
        save(potential, path)
        info = {"labels": potential.provenance.training_frames, "foundation": potential.backbone.name}
        # The model's id follows from the fingerprint, and stays when an adaptation is repeated on another machine.
        return self._records.add_model(round_, path.name, self._backbone.fingerprint, content_hash(path), info)

    def served_in(self, round_: int) -> CommitteePotential:
        """The model that was served when a round began, even if the round has promoted another one since."""
        model = self._records.served_model(before=round_)
        if model is None:
            return self._foundation
        if self._served is None or self._served[0] != model.round:
            self._served = model.round, self.trained_in(model.round)
        return self._served[1]

    def trained_in(self, round_: int) -> CommitteePotential:
        """Open the model that a round trained; a lost or damaged checkpoint is trained again from its labels."""
        try:
            self._check(round_)
            return load(self._path(round_), self._backbone)
        except CheckpointError as error:
            self._records.event("model made again", str(error), round_)
        made_again = self._remake(round_)
        self.keep(made_again, round_)
        return made_again

    def restore_served(self) -> None:
        """Train the served model again if its checkpoint is lost or is not the promoted one."""
        model = self._records.served_model()
        if model is not None:
            try:
                self._check(model.round)
            except CheckpointError:
                self.trained_in(model.round)

    @property
    def _backbone(self) -> Backbone:
        return self._foundation.backbone

    def _path(self, round_: int) -> Path:
        return self._folder / f"round-{round_:03d}"

    def _check(self, round_: int) -> None:
        recorded = {model.round: model.checkpoint for model in self._records.models()}
        check_content(self._path(round_), recorded.get(round_, ""))
