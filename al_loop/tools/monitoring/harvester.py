"""Add frames of alarms to a campaign's ledger."""

import logging
from pathlib import Path

from ase import Atoms

from al_loop.tools.monitoring.check import Check
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source
from al_loop.utils.redaction import mask_uri

TOGETHER = 10  # frames handed over at once: opening a ledger takes a second or two
HELD = 200  # frames that wait for a ledger that is away; each of them is a snapshot too

_logger = logging.getLogger("al_loop")


class Harvester:
    """Collects frames and adds them to the ledger, ten at a time and at the end.

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
        _check(campaign)
        self.handed = 0
        self._campaign = campaign
        self._source = source
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
            came = harvest(self._campaign, self._frames, self._reasons, self._source)
        except Exception as error:  # noqa: BLE001 - whatever a database says, the dynamics goes on
            told = mask_uri(str(error) or type(error).__name__)
            _logger.warning(
                "the campaign %s does not accept frames now; they are kept until it does: %s", self._campaign, told
            )
            return
        self.handed += came.new
        for index, why in came.left_out.items():
            _logger.warning("the campaign did not accept the frame of %s: %s", self._reasons[index], why)
        self._frames, self._reasons = [], []


def _check(campaign: Path) -> None:
    """Raise if the path cannot be a campaign, before anything runs."""
    from al_loop.tools.preflight.load_config import load_config

    remedy = "name a campaign's YAML file or its folder"
    with reading(f"harvest: {campaign}", remedy):
        if campaign.is_dir():
            return
    check_source(f"harvest: {campaign}", campaign, remedy)
    load_config(campaign)
