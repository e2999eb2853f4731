"""Actions on frames that are not trusted."""

import logging

import numpy as np
from ase import Atoms

from al_loop.errors import GuardStop
from al_loop.files.predictions import StatedFrame
from al_loop.files.snapshots import SnapshotFile
from al_loop.tools.monitoring.check import Check
from al_loop.tools.monitoring.harvester import Harvester
from al_loop.tools.monitoring.settings import MonitorOptions
from al_loop.tools.monitoring.summary import Summary
from al_loop.tools.monitoring.trajectory_gate import GatedPrediction

DOUBT = "uncertainty_over_threshold"

_logger = logging.getLogger("al_loop")


class MonitorStop(GuardStop):
    """The monitor ended a run, after the frame was stored: exit code 3."""


class Alarms:
    """Acts on alarms; within one episode at checks 1, 2, 4, 8, ..., so that a failed run does not fill the disk.

    Args:
        options: what to do.
        harvester: adds frames to a campaign, None for none.

    Failures to store or harvest a frame (full disk, lost ledger) are logged, and the run continues.
    """

    def __init__(self, options: MonitorOptions, harvester: Harvester | None) -> None:
        self._options = options
        self._harvester = harvester
        self._snapshots = SnapshotFile(options.snapshots)

    @property
    def stored(self) -> int:
        """Number of frames written."""
        return self._snapshots.stored

    def act(self, atoms: Atoms, judged: GatedPrediction, summary: Summary) -> None:
        """Log, store and harvest a frame, and stop, according to the options.

        Args:
            atoms: the frame; not modified.
            judged: its gated prediction.
            summary: it has counted the frame.

        Raises:
            MonitorStop: the run is to end.
        """
        check = judged.check
        stopping = "stop" in self._options.on_alarm and (
            check.verdict.stop or summary.in_a_row >= self._options.patience
        )
        first_of_many = summary.in_a_row & (summary.in_a_row - 1) == 0  # 1, 2, 4, 8, ...
        if stopping or first_of_many:
            stored = self._tell(atoms, judged)
        if stopping:
            self.close()
            raise MonitorStop(self._stopped(check, stored=stored))

    def act_on_drift(self, atoms: Atoms, judged: GatedPrediction, message: str) -> None:
        """Log and store the frame at which the calibrated conditions were found to be left, and stop.

        Args:
            atoms: the frame; not modified.
            judged: its gated prediction.
            message: what was found, and the remedy.

        Raises:
            MonitorStop: the run is to end.
        """
        if "warn" in self._options.on_alarm:
            _logger.warning("step %d: %s", judged.check.step, message)
        if self._options.stores:
            self._snapshots.add(snapshot(atoms, judged))
        if "stop" in self._options.on_alarm:
            self.close()
            raise MonitorStop(f"stopped at step {judged.check.step}: {message}")

    def close(self) -> None:
        """Harvest the frames that are still held."""
        if self._harvester is not None:
            self._harvester.close()

    def _tell(self, atoms: Atoms, judged: GatedPrediction) -> bool:
        """Return whether the frame was stored."""
        check = judged.check
        if "warn" in self._options.on_alarm:
            where = f" (atoms {_listed(check.verdict.atoms)})" if check.verdict.atoms else ""
            _logger.warning("step %d is %s: %s%s", check.step, check.verdict.kind.value, check.verdict.reason, where)
        if not self._options.stores:
            return False
        stored = self._snapshots.add(snapshot(atoms, judged))
        if self._harvester is not None:
            self._harvester.add(atoms, check)
        return stored

    def _stopped(self, check: Check, *, stored: bool) -> str:
        where = f"is the last of {self._options.snapshots}" if stored else "could not be saved"
        return (
            f"stopped at step {check.step}: {check.verdict.reason}. The frame {where}; look at it, label frames like "
            "it (--harvest), or raise patience if a single doubtful frame is no reason."
        )


def snapshot(atoms: Atoms, judged: GatedPrediction) -> StatedFrame:
    """Return a frame with the verdict and predictions, per-atom uncertainties as arrays."""
    check, answer = judged.check, judged.prediction
    frame = StatedFrame(atoms)
    frame.info |= {"step": check.step, "verdict": check.verdict.kind.value, "check": check.verdict.check.value}
    frame.info["reason"] = check.verdict.reason
    if check.time_ps is not None:
        frame.info["time_ps"] = check.time_ps
    if check.verdict.atoms:
        frame.arrays["alarm"] = np.isin(np.arange(len(atoms)), check.verdict.atoms).astype(int)
    if answer is None:
        return frame
    frame.add_prediction(answer)
    if judged.uncertainty_ratio is not None:
        frame.arrays[DOUBT] = judged.uncertainty_ratio
    return frame


def _listed(atoms: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, atoms[:5]))
    return shown if len(atoms) <= 5 else f"{shown}, ... {len(atoms)} in all"  # noqa: PLR2004
