"""Sort labelled frames: duplicates are merged or refused, isolated atoms and unlabelled frames set apart."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from al_loop.errors import InputError
from al_loop.files.labels.differences import EQUAL, NEARLY, difference, explained
from al_loop.files.labels.isolated_atoms import atom_energies, is_isolated_atom
from al_loop.files.labels.labelled_frames import LabelledFrames, has_label, with_label
from al_loop.files.labels.near_geometries import near_pairs
from al_loop.records import Frame
from al_loop.utils.content_hash import GRID_A, matching_order


def sorted_out(frames: Sequence[Frame]) -> LabelledFrames:
    """Merge duplicates, separate isolated atoms, and leave out frames without a label.

    Raises:
        InputError: contradicting labels, a frame that wrongly states to be an isolated atom, or only isolated atoms.
    """
    lone = [is_isolated_atom(frame.atoms, frame.where) for frame in frames]
    isolated = [frame for frame, alone in zip(frames, lone, strict=True) if alone]
    together = [frame for frame, alone in zip(frames, lone, strict=True) if not alone]
    bare = [frame.where for frame in together if not has_label(frame)]
    kept, notes = without_repeats([frame for frame in together if has_label(frame)])
    if isolated and not kept:
        raise InputError(
            f"{isolated[0].where}{f' and {len(isolated) - 1} more' if len(isolated) > 1 else ''}: only isolated "
            "atoms, which only give element energies; add labelled frames of molecules or crystals"
        )
    if bare:
        one = len(bare) == 1
        notes.insert(
            0,
            f"{len(bare)} {'frame holds' if one else 'frames hold'} neither energy nor forces and "
            f"{'was' if one else 'were'} left out ({listed(bare)}).",
        )
    return LabelledFrames(kept, isolated, (*atom_energies(isolated).notes, *notes))


NEAR_A: Final = 0.01
"""Geometries of which no atom is further away than this are almost one."""

NAMED: Final = 3
"""So many pairs of frames are named in a sentence, the others are counted."""


def without_repeats(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """Return each geometry once, with the merged parts of its labels.

    Two frames are one geometry where they have the same ``frame_id``, or where no atom is further than the grid of
    it (1e-4 Å) from its partner: in another order, another periodic image, or shifted as a whole where not periodic.
    Charge, spin multiplicity and initial magnetic moments are part of it.

    Returns:
        The frames, the first of each geometry, and notes on merged and doubtful ones.

    Raises:
        InputError: labels of one geometry that differ by more than 1 meV/atom, 5 meV/Å or 0.1 GPa.
    """
    merging = _Merging()
    first: dict[str, int] = {}
    for place, frame in enumerate(frames):
        known = first.setdefault(frame.frame_id, place)
        if known == place:
            merging.kept[place] = frame
        else:
            order = matching_order(frame.atoms, merging.kept[known].atoms)
            merging.same(known, frame, order, difference(merging.kept[known], frame, order))
    places = list(merging.kept)
    for pair in near_pairs([merging.kept[place].atoms for place in places], NEAR_A):
        one, other = places[pair.first], places[pair.second]
        if not {one, other} <= merging.kept.keys():
            continue  # merged with a third one
        labels = merging.kept[one], merging.kept[other]
        if pair.distance_A <= GRID_A:
            merging.same(one, labels[1], pair.order, difference(*labels, pair.order, explained(*labels, pair, EQUAL)))
            del merging.kept[other]
        elif said := difference(*labels, pair.order, explained(*labels, pair, NEARLY)):
            merging.doubtful.append(f"{labels[0].where} and {labels[1].where} ({pair.distance_A:.1g} Å apart, {said})")
    return merging.outcome()


class _Merging:
    """The geometries so far, and the notes on them."""

    def __init__(self) -> None:
        self.kept: dict[int, Frame] = {}
        self.repeated: list[str] = []
        self.completed: list[str] = []
        self.contradictions: list[str] = []
        self.doubtful: list[str] = []

    def same(self, place: int, other: Frame, order: np.ndarray, apart: str) -> None:
        """Merge another label of a geometry into the first one."""
        one = self.kept[place]
        if apart:
            self.contradictions.append(f"{one.where} and {other.where} are the same geometry with {apart}")
            return
        merged = with_label(
            one,
            energy_eV=_known(one.energy_eV, other.energy_eV),
            forces_eV_per_A=_known(one.forces_eV_per_A, other.forces_eV_per_A[order]),
            stress_eV_per_A3=_known(one.stress_eV_per_A3, other.stress_eV_per_A3),
        )
        more = _labels(merged) > _labels(one)
        (self.completed if more else self.repeated).append(f"{other.where} is {one.where}")
        self.kept[place] = merged

    def outcome(self) -> tuple[list[Frame], list[str]]:
        if self.contradictions:
            raise InputError(
                f"{listed(self.contradictions)}. Expected at most 1 meV/atom, 5 meV/Å and 0.1 GPa between labels of "
                "one geometry: remove the wrong one. Labels of two levels of theory must be in separate sets; if "
                "they differ in charge or spin, state it in the frames (charge, spin)"
            )
        notes = []
        if self.repeated:
            one = len(self.repeated) == 1
            notes.append(
                f"{len(self.repeated)} {'frame repeats another one' if one else 'frames repeat others'} with equal "
                f"labels and {'was' if one else 'were'} taken once ({listed(self.repeated)})."
            )
        if self.completed:
            one = len(self.completed) == 1
            notes.append(
                f"{len(self.completed)} {'frame repeats another one' if one else 'frames repeat others'} and "
                f"{'holds' if one else 'hold'} labels that it lacks: taken as one frame ({listed(self.completed)})."
            )
        if self.doubtful:
            notes.append(
                f"{len(self.doubtful)} {'pair' if len(self.doubtful) == 1 else 'pairs'} of frames are almost the same "
                f"geometry, but their labels differ more than their distance explains; both are used, check them: "
                f"{listed(self.doubtful)}."
            )
        return list(self.kept.values()), notes


def listed(found: Sequence[str]) -> str:
    """Return the first few as text, and the number of others."""
    more = len(found) - NAMED
    return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _known(one: Any, other: Any) -> Any:
    """The first of two parts of labels that is known, None if neither is."""
    return next((part for part in (one, other) if np.isfinite(part).all()), None)


def _labels(frame: Frame) -> int:
    parts = (frame.energy_eV, frame.forces_eV_per_A, frame.stress_eV_per_A3)
    return sum(bool(np.isfinite(part).all()) for part in parts)
