"""Frames of alarms on their way to a campaign's ledger."""

import logging
from pathlib import Path

from ase import Atoms

from al_loop.monitor.check import Check

TOGETHER = 10  # frames handed over at once: opening a ledger takes a second or two

_logger = logging.getLogger("al_loop")


class Harvester:
    """Collects frames and hands them over, ten at a time and at the end.

    Args:
        campaign: its config file or its folder.
        source: where the frames come from, in words.

    Attributes:
        handed: number of frames that wait in the ledger.
    """

    def __init__(self, campaign: Path, source: str) -> None:
        self.handed = 0
        self._campaign = campaign
        self._source = source
        self._frames: list[Atoms] = []
        self._reasons: list[str] = []

    def add(self, atoms: Atoms, check: Check) -> None:
        """Take a frame; one that no calculation could be done on is left out."""
        if check.verdict.reason.startswith("not computable"):
            return
        frame = atoms.copy()
        frame.arrays.pop("momenta", None)
        self._frames.append(frame)
        self._reasons.append(f"step {check.step}: {check.verdict.reason}")
        if len(self._frames) >= TOGETHER:
            self.close()

    def close(self) -> None:
        """Hand over what is held."""
        if not self._frames:
            return
        from al_loop.harvest import harvest

        frames, reasons = self._frames, self._reasons
        self._frames, self._reasons = [], []
        came = harvest(self._campaign, frames, reasons, self._source)
        self.handed += came.new
        for index, why in came.left_out.items():
            _logger.warning("the campaign did not take the frame of %s: %s", reasons[index], why)
