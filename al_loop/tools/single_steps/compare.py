"""Compare foundations on labelled frames: ``al_loop.compare`` and ``al-loop predict``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from al_loop.files.labelled import read_labelled
from al_loop.files.labels.isolated_atoms import atom_energies
from al_loop.files.labels.names import given_keys
from al_loop.tools.compare_foundations import Comparison, compare_foundations
from al_loop.tools.foundation_argument import FoundationArgument, parse_foundation
from al_loop.utils.notes import Notify, log_note
from al_loop.utils.paths import Paths, as_paths
from al_loop.utils.progress import Announce, show_nothing


def compare(
    labelled: Paths,
    foundations: Sequence[FoundationArgument],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    advance: Announce = show_nothing,
    notify: Notify = log_note,
) -> Comparison:
    """Compare foundations on labelled frames and say which to start from; nothing is trained.

    This is what the command ``al-loop predict`` prints.

    Args:
        labelled: DFT outputs, extxyz, aselmdb, ASE databases: files, folders, patterns such as ``runs/**/OUTCAR``.
        foundations: ``sevennet:MODEL[:FIDELITY]``, ``fairchem:MODEL:TASK``, campaigns' YAML files, or settings.
        energy_key: name of the energies, eV; by default ``REF_energy``, or ASE's own energy.
        forces_key: name of the forces, eV/Å; by default as for the energies.
        stress_key: name of the stresses, eV/Å³; by default as for the energies.
        device: where foundations named by a word run.
        advance: called with the name of each foundation before it is evaluated.
        notify: called with each sentence on what was merged, set apart or left out of the files.

    Returns:
        Mean absolute errors of each foundation (eV/Å, eV/atom, eV/Å³), the lowest force error first.

    Raises:
        InputError: files that are not what they should be, no frames with forces, or no foundation.
        FoundationError: a foundation that cannot be loaded.
        StructureError: a frame that a foundation cannot be asked about, for example for an unknown element.
        FoundationAnswerError: a calculator that fails on a frame.

    Examples:
        >>> from al_loop import compare
        >>> comparison = compare("labelled.extxyz", ["fairchem:distilled.pt:omat"])
        >>> comparison.start_from, comparison.frames
        ('fairchem:distilled.pt:omat', 8)
        >>> comparison.scores[0].force_mae_eV_per_A < comparison.mean_force_eV_per_A
        True
    """
    chosen = [parse_foundation(foundation, device) for foundation in foundations]
    read = read_labelled(as_paths(labelled), given_keys(energy_key, forces_key, stress_key))
    for note in read.notes:
        notify(note)
    atoms_eV = atom_energies(read.isolated_atoms).energies_eV
    comparison = compare_foundations(read.frames, chosen, advance, atom_energies_eV=atoms_eV)
    return replace(comparison, notes=tuple(read.notes))
