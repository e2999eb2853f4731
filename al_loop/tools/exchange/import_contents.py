"""Contents of files to import: frames that repeat each other or the ledger, and isolated atoms."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.labels.differences import difference
from al_loop.files.labels.isolated_atoms import AtomEnergies, atom_energies
from al_loop.files.labels.sorting import without_repeats
from al_loop.ledger import Ledger
from al_loop.ledger.base import chunks
from al_loop.ledger.import_log import check_atom_energies
from al_loop.records import Frame
from al_loop.utils.content_hash import matching_order

LOOKED_UP = 500  # labels of the ledger that are in memory at a time


@dataclass(frozen=True)
class Repeats:
    """Treatment of repeated frames.

    Attributes:
        merged: frame -> the merged frame to store instead, None if it is not stored.
        notes: sentences for the user.
    """

    merged: Mapping[str, Frame | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileContents:
    """Contents of files, with all labels in memory.

    Attributes:
        labelled: frames to train on.
        isolated: isolated atoms.
        suspects: the ``frame_id`` of frames without a label.
    """

    labelled: list[Frame] = field(default_factory=list)
    isolated: list[Frame] = field(default_factory=list)
    suspects: set[str] = field(default_factory=set)

    def repeats(self, ledger: Ledger, level: str) -> Repeats:
        """Take each geometry once.

        Raises:
            InputError: labels of one geometry that contradict each other, in the files or in the ledger.
        """
        kept, notes = without_repeats(self.labelled)
        given = {frame.where: frame for frame in self.labelled}
        merged: dict[str, Frame | None] = dict.fromkeys(given)
        merged.update({frame.where: frame for frame in kept})
        looked_up = ({frame.frame_id: frame for frame in block} for block in chunks(kept, LOOKED_UP))
        known: int = sum(_known(ledger, level, block) for block in looked_up)
        if known:
            notes.append(f"{known} {'frame has' if known == 1 else 'frames have'} an equal label in the campaign.")
        return Repeats({where: frame for where, frame in merged.items() if frame is not given[where]}, tuple(notes))

    def atoms(self, ledger: Ledger, config: Config, level: str, elements: Set[int]) -> AtomEnergies:
        """Take the energies of the campaign's elements from isolated atoms.

        Raises:
            InputError: energies of one element that contradict each other, the config or an earlier import.
        """
        mine = [frame for frame in self.isolated if frame.atoms.numbers[0] in elements]
        found = atom_energies(mine)
        check_atom_energies(ledger, config, level, found.energies_eV, found.where)
        others = sorted(
            {frame.atoms.symbols[0] for frame in self.isolated} - {frame.atoms.symbols[0] for frame in mine}
        )
        if not others:
            return found
        note = f"Isolated atoms of {', '.join(others)} were left out: the campaign holds no such element."
        return AtomEnergies(found.energies_eV, found.where, (*found.notes, note))


def _known(ledger: Ledger, level: str, frames: Mapping[str, Frame]) -> int:
    """How many frames, by their ids, have an equal label in the ledger."""
    stored = ledger.accepted(frames.keys(), level)
    for key, (atoms, label) in stored.items():
        there = Frame(key, atoms, label=label, where="the ledger")
        apart = difference(there, frames[key], matching_order(frames[key].atoms, atoms))
        if apart:
            raise InputError(
                f"{frames[key].where} has a label in the campaign's ledger already (frame {key}), with {apart}; "
                "expected at most 1 meV/atom, 5 meV/Å and 0.1 GPa between labels of one geometry at one level of "
                "theory. A frame keeps its label: remove it from the file, or start anew in another folder if the "
                "campaign's is the wrong one"
            )
    return len(stored)
