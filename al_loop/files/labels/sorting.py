"""Sort labelled frames into training frames, isolated atoms and unlabelled frames."""

from collections.abc import Sequence

from al_loop.errors import InputError
from al_loop.files.labels.duplicates import listed, without_repeats
from al_loop.files.labels.isolated_atoms import atom_energies, is_isolated_atom
from al_loop.files.labels.labelled_frames import LabelledFrames, has_label
from al_loop.records import Frame


def sorted_out(frames: Sequence[Frame]) -> LabelledFrames:
    """Merge duplicates, separate isolated atoms, and leave out frames without a label.

    Args:
        frames: of all files that belong together.

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
