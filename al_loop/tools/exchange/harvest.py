"""Add suspect frames from other processes to a campaign, running or stopped.

``harvest`` is what a production monitor calls; ``al-loop run --watch`` takes what it brought.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ase import Atoms
from ase.data import atomic_numbers
from ase.symbols import Symbols

from al_loop.config import Config, StoreSettings
from al_loop.errors import InputError
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.campaign_lease import check_not_a_copy
from al_loop.ledger.identity import ID_NAME, campaign_folder, check_ledger, existing_campaign, read_identity
from al_loop.ledger.store import shared_server
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.campaign_folder import LEDGER
from al_loop.utils.content_hash import frame_id
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

HARVEST_LIMIT: Final = 10_000
"""Largest number of suspect frames that wait for a round, so that a monitor cannot fill the disk."""

_REASON_CHARACTERS: Final = 500
_SOURCE_CHARACTERS: Final = 200


@dataclass(frozen=True)
class Harvested:
    """Result of a harvest.

    Attributes:
        new: number of frames that were added for the next round.
        known: number of frames that were already stored, or repeated.
        left_out: index -> reason: no engine could calculate the frame, or too many are waiting.
    """

    new: int
    known: int
    left_out: dict[int, str]


def harvest(campaign: Config | Path | str, frames: Sequence[Atoms], reasons: Sequence[str], source: str) -> Harvested:
    """Add suspect frames to a campaign's ledger; duplicates are stored once.

    Args:
        campaign: its configuration or the YAML file of it, or its folder (private servers, and MONGODB_URI).
        frames: structures, ``charge`` and ``spin`` in ``atoms.info``; nothing else of them is kept.
        reasons: why each of them is suspect.
        source: origin of the frames, for example ``production/run-7``.

    Raises:
        InputError: no such campaign, a copy of its folder, or not one reason for each frame.
        DatabaseLostError: the server went away; handing the same frames in again is right.

    Examples:
        >>> from al_loop import harvest
        >>> from ase.io import read
        >>> frames = read("suspects.extxyz", ":")
        >>> done = harvest("campaign.yaml", frames, ["a bond broke"] * len(frames), source="production/run-7")
        >>> done.new, done.known, done.left_out
        (3, 0, {})
    """
    if len(frames) != len(reasons):
        raise InputError(f"harvest: received {len(frames)} frames and {len(reasons)} reasons, expected one for each")
    if not source.strip():
        raise InputError("harvest: received no source, expected the origin of the frames, such as production/run-7")
    with _ledger(campaign) as (ledger, config):
        return _harvested(ledger, campaign_elements(ledger, config), frames, reasons, source)


def suspect_verdict(reason: str) -> Verdict:
    """Return the verdict on a frame from outside the rounds, which the gate has not evaluated."""
    return Verdict(VerdictKind.SUSPECT, GateCheck.NONE, reason[:_REASON_CHARACTERS])


def campaign_elements(ledger: Ledger, config: Config | None) -> frozenset[int]:
    """Atomic numbers that a campaign explores; its foundation or engine may not support others."""
    if config is not None:
        from al_loop.structures.systems import system_symbols
        from al_loop.tools.preflight.checks import systems_with_paths

        symbols = {symbol for _, system in systems_with_paths(config) for symbol in system_symbols(system)}
        return frozenset(atomic_numbers[symbol] for symbol in symbols)
    formulas = {one.formula for role in Role for one in ledger.candidates(0, role)}
    return frozenset(int(number) for formula in formulas for number in Symbols.fromsymbols(formula).numbers)


def _harvested(
    ledger: Ledger, elements: frozenset[int], frames: Sequence[Atoms], reasons: Sequence[str], source: str
) -> Harvested:
    left_out: dict[int, str] = {}
    usable: dict[int, Frame] = {}
    for index, (atoms, reason) in enumerate(zip(frames, reasons, strict=True)):
        wrong = _unusable(atoms, elements)
        if wrong is None:
            plain, origin = plain_atoms(atoms), source[:_SOURCE_CHARACTERS]
            verdict = suspect_verdict(reason)
            usable[index] = Frame(frame_id(plain), plain, Role.HARVESTED, origin, origin, verdict=verdict)
        else:
            left_out[index] = wrong
    known = ledger.harvested({frame.frame_id for frame in usable.values()})
    room = HARVEST_LIMIT - ledger.waiting().suspects
    new: dict[str, Frame] = {}
    for index, frame in usable.items():
        if frame.frame_id in known or frame.frame_id in new:
            continue
        if len(new) < room:
            new[frame.frame_id] = frame
        else:
            left_out[index] = f"{HARVEST_LIMIT} suspects are waiting already; run a round of the campaign"
    taken = ledger.add_harvested(list(new.values()))
    return Harvested(taken, len(frames) - len(left_out) - taken, left_out)


def _unusable(atoms: Atoms, elements: frozenset[int]) -> str | None:
    excess = structure_excess(atoms)
    if excess:
        return excess
    try:
        check_structures([atoms], elements)
        charge_and_multiplicity(atoms)
    except (StructureError, CannotCalculateError) as error:
        return str(error)
    return None


@contextmanager
def _ledger(campaign: Config | Path | str) -> Iterator[tuple[Ledger, Config | None]]:
    from al_loop.tools.preflight.load_config import load_config

    if not isinstance(campaign, Config) and Path(campaign).is_dir():
        with _of_folder(Path(campaign).resolve()) as ledger:
            yield ledger, None
        return
    config = campaign if isinstance(campaign, Config) else load_config(Path(campaign))
    with existing_campaign(config) as ledger:
        check_not_a_copy(ledger, campaign_folder(config), private=shared_server(config.store) is None)
        yield ledger, config


@contextmanager
def _of_folder(folder: Path) -> Iterator[Ledger]:
    known, store = read_identity(folder), StoreSettings()
    if known is None or not (shared_server(store) or (folder / LEDGER).is_dir()):
        raise InputError(
            f"{folder} holds no campaign with a server of its own ({ID_NAME} and {LEDGER} are not both there); give "
            "the campaign's config, which names its server, or set MONGODB_URI"
        )
    with open_ledger(store, folder, known.name) as ledger:
        check_ledger(ledger, store, folder, known)
        check_not_a_copy(ledger, folder, private=shared_server(store) is None)
        yield ledger
