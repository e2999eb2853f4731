"""The loop: hold out, then in each round explore, select, label, train, promote, evaluate and report.

Each stage is a function of plain data and a model. ``Rounds`` reads the inputs of a stage from the ledger, calls it,
and writes its results. The record that a stage is finished is written last, so that an interrupted round continues
with the same outcome.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from al_loop.config import Config
from al_loop.config.round_configs import RoundConfigs
from al_loop.config.settings import AdaptMode
from al_loop.errors import GuardStop
from al_loop.ledger import Ledger
from al_loop.ledger.campaign_lease import Lease
from al_loop.ledger.import_log import incoming_results, with_imported_atoms
from al_loop.records import LabelledSet, Role, RoundReport
from al_loop.report.round_json import REPORT_STAGE, as_dict, from_dict
from al_loop.report.round_report import Gated, held_out_figures, round_report
from al_loop.stages.batches import EXPLORE, SELECT, FinishedBatches, batch_count, batch_starts, stage_name, stage_of
from al_loop.stages.evaluate.conditions import explored_conditions
from al_loop.stages.evaluate.errors import calibrated_on, evaluate_labels
from al_loop.stages.evaluate.selected_frames import selected_frame_arrays
from al_loop.stages.explore.hold_out import held_out_starts, hold_out, hold_out_steps, require_held_out
from al_loop.stages.explore.run import explore_anywhere, require_usable, trajectories
from al_loop.stages.explore.starts import round_starts
from al_loop.stages.label.budget import require_held_out_budget, round_budget
from al_loop.stages.label.quarantine import QUARANTINED, quarantine_in_words, quarantined_as_dict, require_few_failed
from al_loop.stages.promote.promotion import evaluate_candidate, gather_evidence
from al_loop.stages.select.selection import SelectionBudget, described, select
from al_loop.stages.train.candidate import HELD_OUT, REPLAY_FRAMES, TrainInputs, train_candidate, with_mode
from al_loop.stages.train.changed_engine import check_round
from al_loop.stages.train.models import Models
from al_loop.tools.validation.requirement import required_validation, validated
from al_loop.tools.workers.worker_pool import WorkerPool, wait_for_a_cost, wait_for_labels
from al_loop.utils.event_log import EventLog
from al_loop.utils.progress import Progress
from committee.backbones.contract import Backbone
from committee.potential import CommitteePotential
from dft_interfaces.label import LevelOfTheory

SELECT_SEED = 5
NO_FRAME_TRUSTED = "no frame trusted"  # kind of event

Results = dict[str, Any]
"""Results of a stage, as plain JSON."""


class Rounds:
    """Runs the rounds of one campaign.

    Args:
        config: the campaign, with an absolute folder.
        backbone: the foundation.
        level: the engine's level of theory.
        ledger: of the campaign.
        lease: of this process on the campaign.
        pool: the labelling workers, which are started once and run during all stages.
        progress: shows the progress of each stage.
        log: the campaign's log.
        label_estimate_h: core hours of one label, estimated by the engine.
    """

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        level: LevelOfTheory,
        ledger: Ledger,
        lease: Lease,
        pool: WorkerPool,
        progress: Progress,
        log: EventLog,
        label_estimate_h: float,
    ) -> None:
        self._config, self._backbone, self._level = config, backbone, level
        self._configs = RoundConfigs(config, ledger.arrays_once)
        self._ledger, self._lease, self._pool = ledger, lease, pool
        self._progress, self._log, self._label_estimate_h = progress, log, label_estimate_h
        self._foundation = CommitteePotential.untrained(backbone, config.committee, seed=config.seed)
        self._models = Models(config.folder, self._foundation, ledger, remake=self._retrained)
        self._read: tuple[int, LabelledSet] | None = None  # with the last round that it contains

    def restore_served(self) -> None:
        """Train the served model again if its checkpoint is lost or is not the promoted one."""
        self._models.restore_served()

    def run(self, round_: int) -> RoundReport:
        """Run a round, or its unfinished stages.

        Raises:
            GuardStop: a guard ended the campaign.
        """
        self._config = self._configs[round_]
        once = partial(self._once, round_)
        once("hold_out", self._hold_out)
        for batch in range(batch_count(self._config)):
            once(stage_name(EXPLORE, batch), partial(self._explore, batch=batch))
            once(stage_name(SELECT, batch), partial(self._select, batch=batch))
        once("label", self._label)
        once("train", self._train)
        once("promote", self._promote)
        once("evaluate", self._evaluate)
        return from_dict(once(REPORT_STAGE, self._report))

    def _once(self, round_: int, name: str, stage: Callable[[int], Results]) -> Results:
        """Run a stage unless it is finished, and return its results; that it is finished is written last."""
        known = self._ledger.stage_results(round_, name)
        if known is not None:
            return known
        self._lease.check()
        self._log.write("stage", round=round_, stage=name)
        started = time.monotonic()
        results = stage(round_)
        self._lease.check()
        self._ledger.finish_stage(round_, name, time.monotonic() - started, results)
        return self._ledger.stage_results(round_, name) or results

    def _hold_out(self, round_: int) -> Results:
        """Generate frames that are never trained on, at temperatures that are new, and request their labels."""
        config, former = self._config, [self._configs[number] for number in range(round_)]
        starts = held_out_starts(config, former)
        if not starts:
            return {"frames": 0}
        self._pool.start()
        if round_ > 0:
            require_held_out_budget(round_, sum(one.share for one in starts), partial(self._label_budget, round_))
        served, folder = self._models.served_in(round_), trajectories(config, round_, "hold_out")
        with self._progress.stage("hold out", total=hold_out_steps(config), unit="steps") as advance:
            visits = hold_out(config, served, folder, starts, advance)
        if round_ == 0:
            require_held_out(visits)
        self._ledger.replace_visits(round_, HELD_OUT, visits)
        for role in HELD_OUT:
            self._ledger.request_labels(round_, role, [v for v in visits if v.role is role], self._level.fingerprint)
        return {"frames": len(visits)}

    def _explore(self, round_: int, batch: int) -> Results:
        """Run and gate MD under the served model; the first batch also takes frames from outside the rounds."""
        self._pool.start()
        config, served = self._config, self._models.served_in(round_)
        every = round_starts(config, round_, self._ledger.before_failure, self._configs.__getitem__)
        starts = batch_starts(config, every, round_, batch)
        folder = trajectories(config, round_, stage_name(EXPLORE, batch))
        with self._progress.stage("explore", total=config.explore.steps, unit="steps") as advance:
            stored = explore_anywhere(config, folder, served, starts, config.explore, advance)
        before = self._finished_batches(round_, batch).explored
        frames = self._ledger.replace_visits(round_, (Role.EXPLORE,), stored.visits(), after=before)
        if batch == batch_count(config) - 1:
            require_usable(round_, self._ledger.verdict_counts(round_, Role.EXPLORE), stored)
        taken = {} if batch else incoming_results(self._ledger, round_, self._level.fingerprint)
        return {"frames": frames, **taken}

    def _select(self, round_: int, batch: int) -> Results:
        """Select frames among all that the round has explored so far, and request their labels."""
        ledger, config, served = self._ledger, self._config, self._models.served_in(round_)
        former = self._finished_batches(round_, batch)
        budget = self._label_budget(round_, config.select.labels_per_round) if former.budget is None else former.budget
        found = [c for role in (Role.EXPLORE, Role.HARVESTED) for c in ledger.candidates(round_, role)]
        held_out = {visit.frame_id for role in HELD_OUT for visit in ledger.visits(role=role)}
        explored = [candidate for candidate in found if candidate.frame_id not in held_out]
        labelled = {frame.frame_id: frame.atoms for frame in ledger.labelled((Role.EXPLORE,), range(round_))}
        taken = {**labelled, **ledger.frames(former.requested)}
        same = served.backbone.fingerprint == self._backbone.fingerprint  # else stored ones may be of other features
        stored, own = (ledger.descriptors(taken), None) if same else ({}, ledger.explored_ids(round_))
        candidates, known = described(explored, taken, served, stored, ledger.frames, own)
        new = ledger.explored_ids(round_, after=former.explored) if batch else None
        selection_budget = SelectionBudget.of(config.select, budget, former.spent, batch, batch_count(config), new)
        rng = np.random.default_rng([config.seed, SELECT_SEED, round_, batch])
        chosen = select(candidates, known, config.select, rng, selection_budget)
        visits = {visit.frame_id: visit for visit in reversed(ledger.visits(round_, frames=chosen.frame_ids))}
        in_order = [visits[frame_id] for frame_id in chosen.frame_ids]
        ledger.request_labels(round_, Role.EXPLORE, in_order, self._level.fingerprint)
        arrays = selected_frame_arrays(in_order, chosen.reasons, served, self._foundation)
        ledger.put_arrays(f"chosen/{round_}/{batch}", arrays)
        reasons = Counter(chosen.reasons.values())
        return {"selected": reasons.total(), "reasons": reasons, "frames": chosen.frame_ids, "budget": budget}

    def _label(self, round_: int) -> Results:
        """Wait for the quorum of the round's labels and check them; the next round waits for the others."""
        self._pool.start()
        ledger, config = self._ledger, self._config.label
        quorum = 1.0 if round_ >= self._config.rounds - 1 else config.quorum
        with self._progress.stage("label", total=ledger.open_requests(round_), unit="labels") as advance:
            wait_for_labels(ledger, self._pool, round_, advance, quorum)
        ledger.defer(round_)
        calculated = ledger.labelled(tuple(Role), range(round_ + 1), with_outliers=True)
        used = [frame.frame_id for frame in ledger.labelled(tuple(Role), range(round_))]
        made, served = ledger.label_origins(range(round_ + 1)), self._models.served_in(round_)
        checked = check_round(self._config, round_, calculated, used, made, served)
        ledger.mark_outliers(round_, checked.marked)
        if checked.change:
            ledger.event_once("engine changed", checked.change, round_)
        if checked.stop:
            raise GuardStop(checked.stop)
        ended = self._labels(round_).of_round(round_)
        failed = [frame for frame in ended if not frame.converged]
        for frame in failed:
            ledger.event_once(QUARANTINED, quarantine_in_words(frame), round_, **quarantined_as_dict(frame))
        require_few_failed(round_, len(ended), failed, config.max_failed_fraction)
        return {"labelled": len(ended) - len(failed), "failed": len(failed), "engine_changed": checked.change}

    def _train(self, round_: int) -> Results:
        """Fit a candidate on all labels so far, unless they do not fit the foundation, and calibrate it."""
        trained = train_candidate(self._train_inputs(round_, self._config.train.adapt), self._progress)
        for event in trained.events(round_):
            self._ledger.event_once(event.kind, event.message, event.round, **event.data)
        candidate = calibrated_on(trained.accepted, self._labels(round_), self._foundation, self._config.gate)
        model, labels = self._models.keep(candidate, round_), candidate.provenance.training_frames
        return {"model": model, "labels": labels, **trained.as_dict()}

    def _promote(self, round_: int) -> Results:
        """Serve the candidate if it fulfils every criterion."""
        ledger, config, candidate = self._ledger, self._config, self._models.trained_in(round_)
        served, required = ledger.served_model(before=round_), required_validation(config)
        validation = None if required is None else partial(validated, required=required)
        with self._progress.stage("promote"):
            given = config, self._foundation, candidate, self._labels(round_), round_
            last = None if served is None else served.round
            evidence = gather_evidence(*given, served_round=last, once=ledger.arrays_once, validation=validation)
            promotion = evaluate_candidate(candidate, self._models.served_in(round_), evidence, config.promote)
        if promotion.promoted:
            ledger.serve_model(self._results(round_)["train"]["model"], round_)
        results = asdict(promotion)
        kind = "promoted" if promotion.promoted else "candidate rejected"
        ledger.event(kind, promotion.reason, round_, criteria=results["criteria"])
        return results

    def _evaluate(self, round_: int) -> Results:
        """Measure the served model on held-out frames."""
        served = self._models.served_in(round_ + 1)
        evaluation = evaluate_labels(self._labels(round_), served, HELD_OUT, self._foundation)
        calibrated = () if served.calibration_scores is None else served.calibration_scores.conditions
        if evaluation is not None:
            self._ledger.put_arrays(f"evaluation/{round_}", evaluation.arrays(served.calibration, calibrated))
        scores = self._ledger.gate_scores(round_, Role.EXPLORE)
        explored = explored_conditions(self._models.served_in(round_), scores)
        trajectories = self._ledger.trajectories(round_, Role.EXPLORE)
        figures = held_out_figures(evaluation, served.calibration, explored, calibrated, trajectories)
        if figures["guarantee"].get("no_frame_trusted"):
            self._ledger.event_once(NO_FRAME_TRUSTED, figures["guarantee"]["text"], round_)
        return figures

    def _report(self, round_: int) -> Results:
        """Assemble the report from the results of the stages."""
        ledger, seconds = self._ledger, Counter[str]()
        for name, stage in ledger.stages(round_).items():
            seconds[stage_of(name)] += stage["seconds"]
        counts = ledger.verdict_counts(round_, Role.EXPLORE), ledger.check_counts(round_, Role.EXPLORE)
        gated = Gated(*counts, ledger.verdicts(round_, Role.EXPLORE))
        ended = self._labels(round_).of_round(round_)
        report = as_dict(round_report(self._config, round_, gated, ended, self._results(round_), seconds))
        self._log.write("round", **report)
        return report

    def _results(self, round_: int) -> dict[str, Results]:
        return {name: stage["results"] for name, stage in self._ledger.stages(round_).items()}

    def _finished_batches(self, round_: int, before: int | None = None) -> FinishedBatches:
        return FinishedBatches(self._results(round_), before)

    def _labels(self, round_: int) -> LabelledSet:
        """All outcomes up to a round whose labelling has ended; read once."""
        if self._read is None or self._read[0] != round_:
            frames = self._ledger.labelled(tuple(Role), range(round_ + 1), converged_only=False)
            self._read = round_, LabelledSet(tuple(frames))
        return self._read[1]

    def _label_budget(self, round_: int, most: int) -> int:
        """How many labels, up to ``most``, the round may request under the budget of the whole campaign."""
        stages = map(self._results, range(round_ + 1))
        held_out = sum(results["hold_out"]["frames"] for results in stages if "hold_out" in results)
        requested = held_out + sum(self._finished_batches(former).selected for former in range(round_))
        by_cost = self._config.stop.label_core_hours is not None
        ended, calculating = wait_for_a_cost(self._ledger, self._pool, range(round_ + 1)) if by_cost else ([], 0)
        return round_budget(self._config, round_, most, requested, ended, calculating, self._label_estimate_h)

    def _train_inputs(self, round_: int, adapt: AdaptMode) -> TrainInputs:
        """All labels so far, with the isolated atoms that were imported before the round began."""
        results, config = self._results(round_), with_mode(self._configs[round_], adapt)
        config, remarks = with_imported_atoms(config, results[EXPLORE]["isolated_atoms_eV"])
        known = [sentence for sentence in (results["label"]["engine_changed"], *remarks) if sentence]
        level, served = f"{self._level.code}: {self._level.summary}", self._models.served_in(round_)
        far = self._ledger.farthest(round_, Role.EXPLORE, REPLAY_FRAMES)
        last = self._results(round_ - 1)["train"]["adaptation"] if round_ else None
        tried = last["attempted_labels"] if last else 0
        return TrainInputs(config, self._foundation, served, level, self._labels(round_), round_, known, far, tried)

    def _retrained(self, round_: int) -> CommitteePotential:
        """Train the model of a former round once more, with the decision on the foundation that it was made with."""
        decided = self._results(round_)["train"]["adaptation"]
        inputs = self._train_inputs(round_, decided["mode"] if decided else "never")
        trained = train_candidate(inputs, self._progress, again=True).accepted
        return calibrated_on(trained, inputs.labels, self._foundation, self._configs[round_].gate)
