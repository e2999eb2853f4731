"""A campaign in a folder: the same call starts it, resumes it, and returns the reports of a finished one."""

import logging
from collections.abc import Collection, Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch

from al_loop.config import Config
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.campaign_lease import Lease, leased
from al_loop.ledger.identity import Identity, check_folder, start_campaign, started_identity
from al_loop.ledger.incoming import Watch
from al_loop.ledger.store import shared_server
from al_loop.records import RoundReport
from al_loop.report.page import gather, write_report
from al_loop.report.round_json import REPORT_STAGE, finished_rounds
from al_loop.report.status import campaign_status, write_campaign_report
from al_loop.rounds import Rounds
from al_loop.stages.evaluate.stopping import STOPPED, stopped_early
from al_loop.structures.systems import structure_notes
from al_loop.tools.exchange.campaign_files import export_frames, export_served, import_labels
from al_loop.tools.exchange.exporting import What
from al_loop.tools.exchange.importing import Imported
from al_loop.tools.exchange.plain_export import MAX_FRAMES, PlainExport, export_plain_model
from al_loop.tools.open_model import served_checkpoint
from al_loop.tools.preflight.checks import systems_with_paths
from al_loop.tools.preflight.label_notes import level_differences
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.preflight.starting import Prepared, check_settings, prepare
from al_loop.tools.workers.worker_pool import WorkerPool
from al_loop.utils.campaign_folder import Remains, check_files, locked_folder, told_if_unwritable
from al_loop.utils.event_log import LOG_NAME, EventLog
from al_loop.utils.paths import Paths, as_paths
from al_loop.utils.progress import LoggedProgress, Progress, SilentProgress
from committee.baking import BAKE_SETTINGS

_logger = logging.getLogger("al_loop")


class Campaign:
    """An active-learning campaign in a folder.

    Args:
        config: its configuration; a relative ``folder`` is below the current folder.
        progress: shows the progress of each stage; nothing by default.

    Attributes:
        stopped_early: after ``run``, the criterion of ``stop`` that ended the campaign before its last round, or empty.

    Examples:
        >>> from al_loop import Campaign
        >>> campaign = Campaign.from_file("campaign.yaml")
        >>> for report in campaign.iter_rounds():  # or campaign.run(), which returns a list
        ...     print(report.round, report.labels, report.promoted)
        0 5 True
        >>> campaign.status()["state"]
        'finished'
        >>> campaign.served_model().name, campaign.report().name
        ('round-000', 'report.html')
        >>> campaign.export("labels.extxyz", roles=["test"])
        4
    """

    def __init__(self, config: Config, progress: Progress | None = None) -> None:
        self.config = config.model_copy(update={"folder": config.folder.expanduser().resolve()})
        self.stopped_early = ""
        self._progress = progress or SilentProgress()

    @classmethod
    def from_file(cls, path: Path | str, progress: Progress | None = None) -> "Campaign":
        """Read the configuration from a YAML file.

        Raises:
            InputError: the file is not a valid configuration.
        """
        return cls(load_config(Path(path)), progress)

    @property
    def folder(self) -> Path:
        """The campaign's folder, absolute."""
        return self.config.folder

    def run(self, *, go_on_here: bool = False) -> list[RoundReport]:
        """Run as ``iter_rounds`` does; returns the report of each round, finished ones included."""
        return list(self.iter_rounds(go_on_here=go_on_here))

    def iter_rounds(self, watch: Watch | None = None, *, go_on_here: bool = False) -> Iterator[RoundReport]:
        """Run all unfinished rounds, and yield the report of each round, of finished ones at once.

        Args:
            watch: keep running after the last round; start a round when enough new frames or labels arrive.
            go_on_here: continue in this folder, although it is a copy, or an older state, of the one where the
                campaign ran last.

        Raises:
            InputError: bad input or a missing part of the environment; nothing was changed.
            GuardStop: a guard ended the campaign.
        """
        check_folder(self.config)
        if self.folder.exists():
            check_files(self.folder)
        torch.set_num_threads(self.config.threads)
        prepared = prepare(self.config)
        private = shared_server(self.config.store) is None
        with (
            locked_folder(self.folder),
            told_if_unwritable(self.folder),
            open_ledger(self.config.store, self.folder, self.config.name) as ledger,
        ):
            identity = self._begin(ledger, prepared.settings, go_on_here=go_on_here)
            with leased(ledger, self.folder, identity, private=private, go_on_here=go_on_here) as lease:
                self._warn(ledger, prepared)
                yield from self._rounds(ledger, prepared, watch, lease)

    def served_model(self) -> Path | None:
        """Folder of the served model's checkpoint, None before the first promotion.

        Raises:
            InputError: no campaign was started in the folder, its ledger belongs to another campaign, or the checkpoint
                is not the promoted one.
        """
        return served_checkpoint(self.config)

    def status(self) -> dict[str, Any]:
        """Return how far the campaign is, as ``al-loop status --json`` prints it; it may be running.

        Returns:
            See ``al_loop.report.status.campaign_status``.

        Raises:
            InputError: no campaign was ever started in the folder.
        """
        return campaign_status(self.config)

    def report(self) -> Path:
        """Write ``report.html`` into the folder, as ``al-loop report`` does, and return its path.

        Raises:
            InputError: no campaign was ever started in the folder, or the folder cannot be written.
        """
        return write_campaign_report(self.config)

    def export(
        self,
        to: Path | str,
        what: What = "labels",
        *,
        rounds: Collection[int] | None = None,
        roles: Collection[str] | None = None,
    ) -> int:
        """Write labels and frames with where they come from, as ``al-loop export --to`` does.

        Args:
            to: a file .extxyz, .xyz or .aselmdb, which appears once it is complete; what was there is replaced.
            what: accepted ``labels``, gated frames without labels (``visits``), or ``all``.
            rounds: of these only.
            roles: of these only, such as ``test``.

        Returns:
            How many frames were written.

        Raises:
            InputError: no campaign, another ending, a place that cannot be written, no such role, or no such frames.
        """
        return export_frames(self.config, Path(to), what, rounds=rounds, roles=roles)

    def export_checkpoint(self, path: Path | str) -> None:
        """Write the served committee as a fairchem checkpoint, as ``al-loop export --checkpoint`` does.

        Args:
            path: of the file; it opens with ``load_predict_unit`` where al-loop is installed.

        Raises:
            InputError: no campaign, nothing is served yet, a foundation that is not fairchem's, or a file that cannot
                be written.
        """
        export_served(self.config, Path(path))

    def export_plain(
        self,
        path: Path | str,
        *,
        frames: Paths = (),
        max_frames: int = MAX_FRAMES,
        epochs: int = BAKE_SETTINGS.epochs,
    ) -> PlainExport:
        """Write the served committee as a checkpoint that opens without al-loop, as ``al-loop export --plain`` does.

        Args:
            path: of the file.
            frames: structure files to bake on; by default the explored frames.
            max_frames: bake on at most so many frames.
            epochs: passes over the frames.

        Returns:
            The written file, how it is opened, and its difference from the committee.

        Raises:
            InputError: no campaign, nothing is served yet, a closed foundation, too few explored frames, or a file that
                cannot be written.
        """
        return export_plain_model(self.config, path, frames=frames, max_frames=max_frames, epochs=epochs)

    def import_labels(
        self,
        files: Paths,
        *,
        level: str | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        check: bool = True,
    ) -> Imported:
        """Take labels and suspect frames of files into the campaign, as ``al-loop import`` does: all, or none.

        Args:
            files: DFT outputs, extxyz, aselmdb, ASE databases: files, folders, patterns such as ``runs/**/OUTCAR``.
            level: of the labels where a file does not say it: a fingerprint, or ``engine`` for that of
                ``label.engine``.
            energy_key: name of the energies, eV; given together with ``forces_key``. By default ``REF_energy``, or
                ASE's own energy.
            forces_key: name of the forces, eV/Å.
            stress_key: name of the stresses, eV/Å³.
            check: compare some labels with the foundation first.

        Returns:
            How many labels and suspects the files hold, and how many were new; the next round takes them.

        Raises:
            InputError: no campaign, or anything in the files that cannot be used; nothing was stored.
            CampaignError: the server refused something; nothing was stored.

        Examples:
            >>> from al_loop import Campaign
            >>> done = Campaign.from_file("campaign.yaml").import_labels("labelled.extxyz", level="engine")
            >>> done.labels, done.labels_new, done.suspects
            (8, 8, 0)
        """
        return import_labels(
            self.config,
            as_paths(files),
            level=level,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            check=check,
        )

    def _begin(self, ledger: Ledger, settings: dict[str, Any], *, go_on_here: bool = False) -> Identity:
        """Start the campaign, or check that ledger, folder and settings are those of the started one."""
        identity = started_identity(ledger, self.config, go_on_here=go_on_here)
        if identity is None:
            if found := Remains.of(self.folder).results:
                note = "each is used where the same structure is labelled at the same level of theory."
                place = self.folder / "dft" / "results"
                _logger.warning("%d finished calculation(s) lie in %s already: %s", found, place, note)
            return start_campaign(ledger, self.config, settings)
        check_settings(self.config, ledger.campaign_config() or {}, settings)
        return identity

    def _warn(self, ledger: Ledger, prepared: Prepared) -> None:
        """Log at each start, and record once for the report, how the engine differs from the foundation."""
        for note in (note for _, system in systems_with_paths(self.config) for note in structure_notes(system)):
            _logger.warning("%s", note)
        if prepared.cost.too_long:
            _logger.warning("Labels: %s", prepared.cost)
        for sentence in level_differences(self.config, prepared.level):
            _logger.warning("%s", sentence)
            ledger.event_once("level of theory", sentence)

    def _rounds(self, ledger: Ledger, prepared: Prepared, watch: Watch | None, lease: Lease) -> Iterator[RoundReport]:
        log = EventLog(self.folder / LOG_NAME)
        log.write("run", campaign=self.config.name, rounds=self.config.rounds, labels=str(prepared.cost))
        if swept := ledger.sweep_files():
            log.write("unused files deleted", files=swept)
        with WorkerPool(self.config, log) as pool:
            progress, hours_each = LoggedProgress(self._progress, log), prepared.cost.core_hours_each
            rounds = Rounds(
                self.config, prepared.backbone, prepared.level, ledger, lease, pool, progress, log, hours_each
            )
            rounds.restore_served()
            for round_ in takewhile(lambda number: self._goes_on(ledger, number, watch), count()):
                known = ledger.stage_results(round_, REPORT_STAGE) is not None
                report = rounds.run(round_)
                self._stop(ledger, round_, log)
                if not known or self.stopped_early or round_ == self.config.rounds - 1:
                    write_report(gather(ledger, self.folder), self.folder)
                yield report

    def _goes_on(self, ledger: Ledger, round_: int, watch: Watch | None) -> bool:
        """Whether to run a round: a planned one, one that watching has started, or one that watching starts now."""
        if round_ < self.config.rounds and not self.stopped_early:
            return True
        return watch is not None and (round_ in ledger.rounds() or watch.wait(ledger))

    def _stop(self, ledger: Ledger, round_: int, log: EventLog) -> None:
        """Check whether a stop criterion ends the campaign after this round, if it is the last finished one."""
        reports = finished_rounds(ledger)
        self.stopped_early = stopped_early(self.config, reports) if len(reports) == round_ + 1 else ""
        if not self.stopped_early:
            return
        left_open = ledger.open_requests(round_ + 1)  # deferred by the quorum
        log.write("stopped_early", round=round_, reason=self.stopped_early, labels_left_open=left_open)
        if left_open:
            _logger.warning("Labels: %d that the quorum did not wait for are left open.", left_open)
        ledger.event_once(STOPPED, self.stopped_early, round_)
