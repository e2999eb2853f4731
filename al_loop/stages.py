"""The stages of one round, each a function of the ledger and the served model. ``Campaign`` walks them in order."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from al_loop.config import Config
from al_loop.errors import GuardStop
from al_loop.evaluate.chosen import chosen_arrays
from al_loop.evaluate.errors import Evaluation, evaluate
from al_loop.evaluate.round_report import held_out_figures
from al_loop.explore.hold_out import hold_out, hold_out_steps
from al_loop.explore.round_starts import round_starts
from al_loop.explore.stored import StoredTrajectories
from al_loop.files.imported_atoms import imported_atom_energies, with_imported_atoms
from al_loop.folder import MODELS
from al_loop.label.budget import round_budget
from al_loop.label.labelling import WorkerPool, wait_for_labels
from al_loop.label.outliers import mark_outliers
from al_loop.ledger import Ledger
from al_loop.portions import EXPLORE, SELECT, Portions, stage_name
from al_loop.progress import Progress
from al_loop.promote.promotion import judge_candidate
from al_loop.promote.promotion_evidence import gather_evidence
from al_loop.quarantine import note_quarantined, quarantine_in_words
from al_loop.queued.exploring import explore_anywhere
from al_loop.queued.training import fitted_in_queue
from al_loop.records import LabelledFrame, Role, VerdictKind, Visit
from al_loop.select.described import described
from al_loop.select.selection import select
from al_loop.train.alignment import TrainingInput, training_input
from al_loop.train.fitting import fit_candidate, incremental
from committee.backbone import Backbone
from committee.calibration import Calibration
from committee.checkpoint import check_content, content_hash, load, save
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from dft_interfaces.label import LevelOfTheory

TRAJECTORIES = "trajectories"
HELD_OUT = (Role.TEST, Role.CALIBRATION, Role.NEVER_TRAINED)
TELLING_FRAMES = 8  # labels that show a slip of unit, sign or order
SELECT_SEED = 5


class Stages:
    """What a round does, stage by stage. Every stage can be run again after a crash with the same outcome.

    Args:
        config: the campaign, with an absolute folder.
        backbone: the foundation.
        level: the engine's level of theory.
        ledger: where everything is written.
        pool: the labelling workers.
        progress: shows how far a stage is.
        label_estimate_h: core hours of one label, by the engine's own estimate.
    """

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        level: LevelOfTheory,
        ledger: Ledger,
        pool: WorkerPool,
        progress: Progress,
        label_estimate_h: float,
    ) -> None:
        self._config = config
        self._backbone = backbone
        self._level = level
        self._ledger = ledger
        self._pool = pool
        self._progress = progress
        self._label_estimate_h = label_estimate_h
        self._portions = Portions(config, ledger)
        self._foundation = CommitteePotential.untrained(backbone, config.committee, seed=config.seed)
        self._served_cache: tuple[str, CommitteePotential] | None = None

    def in_order(self) -> dict[str, Callable[[int], dict[str, Any]]]:
        """The stages of a round by name; the loop, in one line. Labels are made from hold out and each select on."""
        portions = {
            stage_name(name, portion): partial(stage, portion=portion)
            for portion in range(self._portions.count)
            for name, stage in ((EXPLORE, self.explore), (SELECT, self.select))
        }
        return {
            "hold_out": self.hold_out,
            **portions,
            "label": self.label,
            "train": self.train,
            "promote": self.promote,
            "evaluate": self.evaluate,
        }

    def restore_served(self) -> None:
        """Make the served model again if its checkpoint is lost or is not the one that was promoted."""
        model = self._ledger.served_model()
        if model is not None:
            try:
                self._check_content(model.round)
            except CheckpointError:
                self._opened(model.round)

    def hold_out(self, round_: int) -> dict[str, Any]:
        """Round 0 only: make the held-out frames and ask for their labels, which are worked on meanwhile."""
        if round_ > 0:
            return {}
        self._pool.start()
        with self._progress.stage("hold out", total=hold_out_steps(self._config), unit="steps") as advance:
            visits = hold_out(self._config, self._foundation, self._trajectories(round_, "hold_out"), advance)
        if not all(any(v.role is role for v in visits) for role in (Role.TEST, Role.CALIBRATION)):
            raise GuardStop(
                "All held-out trajectories broke before the first usable frame: nothing could ever be measured or "
                "promoted. Check the starting structures, lower temperatures_K or timestep_fs, and run again."
            )
        self._ledger.replace_visits(round_, HELD_OUT, visits)
        for role in HELD_OUT:
            self._request(round_, role, [v for v in visits if v.role is role])
        return {"frames": len(visits)}

    def explore(self, round_: int, portion: int = 0) -> dict[str, Any]:
        """Exploratory MD under the served model, every frame gated. The first portion takes what came from outside."""
        if portion and self._portions.in_one(round_):
            return {"frames": 0}
        self._pool.start()
        config, before = self._config, self._portions.explored(round_, portion)
        starts = self._portions.starts(round_starts(config, round_, self._ledger.before_failure), round_, portion)
        folder, served = self._trajectories(round_, stage_name(EXPLORE, portion)), self._served_in(round_)
        with self._progress.stage("explore", total=config.explore.steps, unit="steps") as advance:
            stored = explore_anywhere(config, folder, served, starts, config.explore, advance)
        if portion == self._portions.count - 1 and not self._any_usable(round_, stored):
            first = next(stored.visits(), None)
            raise GuardStop(
                f"Round {round_}: all trajectories broke before the first usable frame "
                f"({'at the start' if first is None else first.verdict.reason}). "
                "Check the starting structures, lower temperatures_K or timestep_fs, and start anew in another folder."
            )
        frames = self._ledger.replace_visits(round_, (Role.EXPLORE,), stored.visits(), after=before)
        return {"frames": frames, **({} if portion else self._taken_in(round_))}

    def select(self, round_: int, portion: int = 0) -> dict[str, Any]:
        """Choose the suspects worth a label among all that the round has met so far, and ask for them."""
        if portion and self._portions.in_one(round_):
            return {"selected": 0, "reasons": {}, "frames": []}
        budget = self._budget(round_, portion)
        met = [c for role in (Role.EXPLORE, Role.HARVESTED) for c in self._ledger.candidates(round_, role)]
        not_again = {v.frame_id for role in HELD_OUT for v in self._ledger.visits(role=role)}
        new = [c for c in met if c.frame_id not in not_again]
        candidates, known = described(new, self._taken(round_, portion), self._ledger, self._served_in(round_))
        rng = np.random.default_rng([self._config.seed, SELECT_SEED, round_, portion])
        allowance = self._portions.allowance(round_, portion, budget)
        chosen = select(candidates, known, self._config.select, rng, allowance)
        visits = self._ledger.visits(round_, frames=chosen.frame_ids)
        first = {visit.frame_id: visit for visit in reversed(visits)}
        in_order = [first[frame_id] for frame_id in chosen.frame_ids]
        self._request(round_, Role.EXPLORE, in_order)
        thought = chosen_arrays(in_order, chosen.reasons, self._served_in(round_))
        self._ledger.put_arrays(f"chosen/{round_}/{portion}", thought)
        reasons = Counter(chosen.reasons.values())
        return {"selected": reasons.total(), "reasons": reasons, "frames": chosen.frame_ids, "budget": budget}

    def label(self, round_: int) -> dict[str, Any]:
        """Wait until the round's requests have ended, or the quorum of them; the next round waits for the others."""
        self._pool.start()
        last = round_ >= self._config.rounds - 1
        quorum = 1.0 if last else self._config.label.quorum
        with self._progress.stage("label", total=self._ledger.open_requests(round_), unit="labels") as advance:
            wait_for_labels(self._ledger, self._pool, round_, advance, quorum)
        self._ledger.put_off(round_)
        mark_outliers(self._ledger, round_, self._served_in(round_), self._config.label.outliers)
        ended = self._ledger.labelled(tuple(Role), (round_,), converged_only=False)
        failed = [frame for frame in ended if not frame.converged]
        note_quarantined(self._ledger, failed)
        limit = self._config.label.max_failed_fraction
        if ended and len(failed) > limit * len(ended):
            raise GuardStop(
                f"Round {round_}: {len(failed)} of {len(ended)} calculations failed (at most {limit:.0%} may). "
                f"The first: {quarantine_in_words(failed[0])}. Mend the cause and start anew in another folder, "
                "or raise label.max_failed_fraction and run the same command again."
            )
        return {"labelled": len(ended) - len(failed), "failed": len(failed)}

    def train(self, round_: int) -> dict[str, Any]:
        """Fit a candidate on all labels so far, unless they do not fit the foundation, and calibrate it."""
        self._fitted_in_queue(round_)  # the check finds there what the foundation says of the labels
        findings = self._check_alignment(round_)
        candidate = self._fitted(round_)
        model = self._keep(candidate, round_)
        return {"model": model, "labels": candidate.provenance.training_frames, "alignment": findings}

    def promote(self, round_: int) -> dict[str, Any]:
        """Serve the candidate if it fulfils every criterion."""
        candidate = self._opened(round_)
        with self._progress.stage("promote"):
            evidence = gather_evidence(self._ledger, self._config, self._foundation, candidate, round_)
            promotion = judge_candidate(candidate, self._served_in(round_), evidence, self._config.promote)
        if promotion.promoted:
            trained = self._ledger.stage_results(round_, "train") or {}
            self._ledger.serve_model(trained["model"], round_)
        results = asdict(promotion)
        kind = "promoted" if promotion.promoted else "candidate rejected"
        self._ledger.event(kind, promotion.reason, round_, criteria=results["criteria"])
        return results

    def evaluate(self, round_: int) -> dict[str, Any]:
        """Measure the served model on held-out frames."""
        served = self._served_in(round_ + 1)
        evaluation = self._evaluated(served, HELD_OUT, round_)
        if evaluation is None:
            return held_out_figures(None, None)
        self._ledger.put_arrays(f"evaluation/{round_}", evaluation.arrays(served.calibration))
        return held_out_figures(evaluation, served.calibration)

    def _any_usable(self, round_: int, stored: StoredTrajectories) -> bool:
        """Whether exploration has met a frame that is not discarded, in this portion or those before."""
        earlier = self._ledger.verdict_counts(round_, Role.EXPLORE).values()
        return any(kinds.keys() - {VerdictKind.DISCARD.value} for kinds in earlier) or any(
            visit.verdict.kind is not VerdictKind.DISCARD for visit in stored.visits()
        )

    def _taken_in(self, round_: int) -> dict[str, Any]:
        """Give the round what came from outside; what it has asked for before it chooses is known from then on."""
        come = self._ledger.take_incoming(round_)
        asked_before = self._ledger.requested(round_, Role.EXPLORE)
        atoms_eV = imported_atom_energies(self._ledger, self._level.fingerprint)
        return {"harvested": come.suspects, "asked_before": asked_before, "isolated_atoms_eV": atoms_eV}

    def _with_atoms(self, round_: int) -> tuple[Config, list[str]]:
        """The config with the isolated atoms that were imported before the round began, and what contradicts it."""
        explored = self._ledger.stage_results(round_, EXPLORE) or {}
        return with_imported_atoms(self._config, explored.get("isolated_atoms_eV", {}))

    def _taken(self, round_: int, portion: int) -> dict[str, Atoms]:
        """Frames that have a label to train on, or for which one is asked."""
        labelled = self._ledger.labelled((Role.EXPLORE,), tuple(range(round_)))
        asked = self._ledger.frames(self._portions.asked_before(round_, portion))
        return {**{frame.frame_id: frame.atoms for frame in labelled}, **asked}

    def _budget(self, round_: int, portion: int) -> int:
        """Labels of the whole round, as they were counted when it first chose."""
        noted = [results.get("budget") for results in self._portions.done(SELECT, round_, before=portion)]
        return int(noted[0]) if noted and noted[0] is not None else self._labels_left(round_)

    def _check_alignment(self, round_: int) -> list[str]:
        """Compare all labels so far with the foundation; what is found is written down before it may stop."""
        _, contradictions = self._with_atoms(round_)
        with self._progress.stage("align", unit="frames") as advance:
            found = self._training_input(round_, advance, self._held_out_to_compare(round_))
        findings = [*found.findings, *contradictions, *found.slips]
        for sentence in findings:
            self._ledger.event("alignment", sentence, round_)
        stop = found.stop(self._config.align, first=self._ledger.served_model(before=round_) is None)
        if stop:
            raise GuardStop(f"Round {round_}: {stop}")
        return findings

    def _training_input(
        self, round_: int, advance: Callable[[int], object], compared_only: Sequence[LabelledFrame] = ()
    ) -> TrainingInput:
        frames = self._training_set(round_)
        if not frames:
            raise GuardStop(f"Round {round_}: there is not a single label to train on.")
        config, _ = self._with_atoms(round_)
        return training_input(config, self._backbone, frames, incremental(advance), compared_only)

    def _held_out_to_compare(self, round_: int) -> list[LabelledFrame]:
        """Held-out labels for a training set too small to show a slip of the engine by itself."""
        missing = TELLING_FRAMES - len(self._training_set(round_))
        return self._ledger.labelled(HELD_OUT, tuple(range(round_ + 1)))[: max(0, missing)]

    def _training_set(self, round_: int) -> list[LabelledFrame]:
        """All accepted labels up to a round, in an order that does not depend on when they came in."""
        frames = self._ledger.labelled((Role.EXPLORE,), tuple(range(round_ + 1)))
        return sorted(frames, key=lambda frame: (frame.round, frame.frame_id))

    def _calibrate(self, candidate: CommitteePotential, round_: int) -> Calibration | None:
        evaluation = self._evaluated(candidate, (Role.CALIBRATION,), round_)
        if evaluation is None or not np.isfinite(evaluation.forces_served).all():
            return None  # nothing to calibrate on, or a candidate that will not be promoted
        gate = self._config.gate
        return Calibration.fit(
            evaluation.atom_errors(),
            evaluation.atom_uncertainties(),
            evaluation.atom_distances(),
            tolerance_eV_per_A=gate.force_tolerance_eV_per_A,
            confidence=gate.confidence,
            latent_quantile=gate.latent_quantile,
            discard_factor=gate.discard_factor,
        )

    def _evaluated(self, potential: CommitteePotential, roles: tuple[Role, ...], round_: int) -> Evaluation | None:
        rounds = tuple(range(round_ + 1))
        frames = self._ledger.labelled(roles, rounds)
        if not frames:
            return None
        trained = {frame.atoms.get_chemical_formula() for frame in self._ledger.labelled((Role.EXPLORE,), rounds)}
        known = frozenset(trained) if potential is not self._foundation else frozenset()
        return evaluate(sorted(frames, key=lambda f: (f.role, f.system, f.frame_id)), potential, known)

    def _labels_left(self, round_: int) -> int:
        """How many labels the round may ask for under the budget of the whole campaign."""
        held_out = self._ledger.stage_results(0, "hold_out") or {}
        asked_for = held_out.get("frames", 0) + sum(self._portions.selected(former) for former in range(round_))
        return round_budget(self._config, self._ledger, round_, asked_for, self._label_estimate_h)

    def _request(self, round_: int, role: Role, visits: list[Visit]) -> None:
        self._ledger.request_labels(round_, role, visits, self._level.fingerprint)

    def _served_in(self, round_: int) -> CommitteePotential:
        """The model that was served when a round began, whatever it has promoted before a crash."""
        model = self._ledger.served_model(before=round_)
        if model is None:
            return self._foundation
        if self._served_cache is None or self._served_cache[0] != model.path:
            self._served_cache = (model.path, self._opened(model.round))
        return self._served_cache[1]

    def _opened(self, round_: int) -> CommitteePotential:
        """Open what a round trained; a checkpoint that was lost or damaged since is made again from its labels."""
        path = self._model_path(round_)
        try:
            self._check_content(round_)
            return load(path, self._backbone)
        except CheckpointError as error:
            self._ledger.event("model made again", str(error), round_)
            rebuilt = self._fitted(round_)
            shutil.rmtree(path, ignore_errors=True)
            self._keep(rebuilt, round_)
            return rebuilt

    def _check_content(self, round_: int) -> None:
        """Compare what lies in the folder of a round's model with what was written there.

        Raises:
            CheckpointError: it is missing, or another one.
        """
        recorded = {model.round: model.checkpoint for model in self._ledger.models()}
        check_content(self._model_path(round_), recorded.get(round_, ""))

    def _keep(self, potential: CommitteePotential, round_: int) -> str:
        """Write a model and record what was written; returns its id in the ledger."""
        path = self._model_path(round_)
        save(potential, path)
        labels = potential.provenance.training_frames
        return self._ledger.add_model(
            round_, path.name, self._backbone.fingerprint, content_hash(path), {"labels": labels}
        )

    def _fitted(self, round_: int) -> CommitteePotential:
        """Fit a committee on all labels up to a round and calibrate it; the same whenever it is asked for."""
        with self._progress.stage("train", total=self._config.train.epochs, unit="epochs") as advance:
            candidate = self._fitted_in_queue(round_, advance)
            if candidate is None:
                given = self._training_input(round_, _ignored)
                candidate = fit_candidate(self._config, self._backbone, given, self._level_in_words, advance)
        return candidate.with_calibration(self._calibrate(candidate, round_))

    def _fitted_in_queue(
        self, round_: int, advance: Callable[[int], object] = lambda _: None
    ) -> CommitteePotential | None:
        """What a job of ``train.queue`` fits; None without a queue, or where the labels do not fit the foundation."""
        frames = self._training_set(round_)
        if self._config.train.queue is None or not frames:
            return None
        first = self._ledger.served_model(before=round_) is None
        compared = self._held_out_to_compare(round_)
        level, (config, _) = self._level_in_words, self._with_atoms(round_)
        return fitted_in_queue(config, self._backbone, level, frames, compared, advance, first=first)

    @property
    def _level_in_words(self) -> str:
        return f"{self._level.code}: {self._level.summary}"

    def _trajectories(self, round_: int, stage: str) -> Path:
        return self._config.folder / TRAJECTORIES / f"round-{round_:03d}" / stage

    def _model_path(self, round_: int) -> Path:
        return self._config.folder / MODELS / f"round-{round_:03d}"


def _ignored(_count: int) -> None:
    """Show nothing: the stage before has shown it."""
