"""Actions on frames that are not trusted: warn, store, add to a campaign's ledger, stop."""

import logging
from pathlib import Path

import numpy as np
from ase import Atoms

from al_loop.errors import GuardStop
from al_loop.files.predictions import SnapshotFile, StatedFrame
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import Check, CheckedFrame
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source
from al_loop.utils.redaction import mask_uri

UNCERTAINTY_RATIO = "uncertainty_over_threshold"
TOGETHER = 10  # frames handed over at once: opening a ledger takes a second or two
HELD = 200  # frames that wait for a ledger that is away; each of them is a snapshot too

_logger = logging.getLogger("al_loop")


class MonitorStop(GuardStop):
    """The monitor ended a run, after the frame was stored: exit code 3."""


class Alarms:
    """Acts on alarms; within one episode at checks 1, 2, 4, 8, ..., so that a failed run does not fill the disk.

    Failures to store or harvest a frame (full disk, lost ledger) are logged, and the run continues.

    Args:
        options: what to do.
        source: origin of the frames for a campaign, as free text.

    Raises:
        InputError: no campaign to harvest for.
    """

    def __init__(self, options: MonitorOptions, source: str) -> None:
        self._options = options
        self._harvester = None if options.harvest is None else Harvester(options.harvest, source)
        self._snapshots = SnapshotFile(options.snapshots)

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames written, and of those that wait in a campaign's ledger."""
        handed = {} if self._harvester is None else {"handed_over": self._harvester.handed}
        return {"stored": self._snapshots.stored, **handed}

    def act(self, atoms: Atoms, gated: CheckedFrame, summary: Summary) -> None:
        """Log, store and harvest a frame (not modified), and stop, according to the options.

        Raises:
            MonitorStop: the run is to end.
        """
        check, in_a_row = gated.check, summary.in_a_row
        stopping = "stop" in self._options.on_alarm and (check.verdict.stop or in_a_row >= self._options.patience)
        if stopping or in_a_row & (in_a_row - 1) == 0:  # 1, 2, 4, 8, ...
            stored = self._warn_and_store(atoms, gated)
        if stopping:
            self.close()
            where = f"is the last of {self._options.snapshots}" if stored else "could not be saved"
            raise MonitorStop(
                f"stopped at step {check.step}: {check.verdict.reason}. The frame {where}; look at it, label frames "
                "like it (--harvest), or raise patience if a single doubtful frame is no reason."
            )

    def act_on_drift(self, atoms: Atoms, gated: CheckedFrame, message: str) -> None:
        """Log and store the frame at which the calibrated conditions were found to be left, and stop.

        Args:
            atoms: the frame; not modified.
            gated: its gated prediction.
            message: what was found, and the remedy.

        Raises:
            MonitorStop: the run is to end.
        """
        if "warn" in self._options.on_alarm:
            _logger.warning("step %d: %s", gated.check.step, message)
        if self._options.stores:
            self._snapshots.add(snapshot(atoms, gated))
        if "stop" in self._options.on_alarm:
            self.close()
            raise MonitorStop(f"stopped at step {gated.check.step}: {message}")

    def close(self) -> None:
        """Harvest the frames that are still held."""
        if self._harvester is not None:
            self._harvester.close()

    def _warn_and_store(self, atoms: Atoms, gated: CheckedFrame) -> bool:
        """Return whether the frame was stored."""
        check = gated.check
        if "warn" in self._options.on_alarm:
            where = f" (atoms {_listed(check.verdict.atoms)})" if check.verdict.atoms else ""
            _logger.warning("step %d is %s: %s%s", check.step, check.verdict.kind.value, check.verdict.reason, where)
        if not self._options.stores:
            return False
        stored = self._snapshots.add(snapshot(atoms, gated))
        if self._harvester is not None:
            self._harvester.add(atoms, check)
        return stored


def snapshot(atoms: Atoms, gated: CheckedFrame) -> StatedFrame:
    """Return a frame with the verdict and predictions, per-atom uncertainties as arrays."""
    check = gated.check
    frame = StatedFrame(atoms)
    frame.info |= {"step": check.step, "verdict": check.verdict.kind.value, "check": check.verdict.check.value}
    frame.info["reason"] = check.verdict.reason
    if check.time_ps is not None:
        frame.info["time_ps"] = check.time_ps
    if check.verdict.atoms:
        frame.arrays["alarm"] = np.isin(np.arange(len(atoms)), check.verdict.atoms).astype(int)
    if gated.prediction is not None:
        frame.add_prediction(gated.prediction)
    if gated.uncertainty_ratio is not None:
        frame.arrays[UNCERTAINTY_RATIO] = gated.uncertainty_ratio
    return frame


def _listed(atoms: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, atoms[:5]))
    return shown if len(atoms) <= 5 else f"{shown}, ... {len(atoms)} in all"  # noqa: PLR2004


class Harvester:
    """Collects frames and adds them to a campaign's ledger, ten at a time and at the end.

    A ledger that is away ends no production run: the frames wait for the next ten, and what is left at the end is
    warned of.

    Args:
        campaign: its config file or its folder.
        source: origin of the frames, as free text.

    Attributes:
        handed: number of frames that wait in the ledger.

    Raises:
        InputError: no such file or folder, or a config that is wrong.
    """

    def __init__(self, campaign: Path, source: str) -> None:
        _check_campaign(campaign)
        self.handed = 0
        self._campaign, self._source = campaign, source
        self._frames: list[Atoms] = []
        self._reasons: list[str] = []

    def add(self, atoms: Atoms, check: Check) -> None:
        """Collect a frame; one that cannot be calculated is left out."""
        if check.verdict.reason.startswith("not computable"):
            return
        frame = atoms.copy()
        frame.arrays.pop("momenta", None)
        self._frames.append(frame)
        self._reasons.append(f"step {check.step}: {check.verdict.reason}")
        if len(self._frames) % TOGETHER == 0:
            self._hand_over()
        if len(self._frames) > HELD:
            del self._frames[0], self._reasons[0]

    def close(self) -> None:
        """Add the collected frames to the ledger."""
        self._hand_over()
        if self._frames:
            _logger.warning(
                "%d frames were not added to %s; they are in the file of snapshots: import it with al-loop import "
                "once the campaign is reachable",
                len(self._frames),
                self._campaign,
            )

    def _hand_over(self) -> None:
        if not self._frames:
            return
        from al_loop.tools.exchange.harvest import harvest

        try:
            harvested = harvest(self._campaign, self._frames, self._reasons, self._source)
        except Exception as error:  # noqa: BLE001 - whatever a database raises, the dynamics goes on
            reason = mask_uri(str(error) or type(error).__name__)
            _logger.warning(
                "the campaign %s does not accept frames now; they are kept until it does: %s", self._campaign, reason
            )
            return
        self.handed += harvested.new
        for index, why in harvested.left_out.items():
            _logger.warning("the campaign did not accept the frame of %s: %s", self._reasons[index], why)
        self._frames, self._reasons = [], []


def _check_campaign(campaign: Path) -> None:
    """Raise if the path cannot be a campaign, before anything runs."""
    from al_loop.tools.preflight.load_config import load_config

    remedy = "name a campaign's YAML file or its folder"
    with reading(f"harvest: {campaign}", remedy):
        if campaign.is_dir():
            return
    check_source(f"harvest: {campaign}", campaign, remedy)
    load_config(campaign)
