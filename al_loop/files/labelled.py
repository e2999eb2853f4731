"""Read labelled frames from DFT outputs and files of frames, given as files, folders or patterns."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.labels.label_checks import check_levels, refuse_zeroed_forces
from al_loop.files.labels.labelled_frames import LabelledFrames, frame_of_file, has_label, with_label
from al_loop.files.labels.names import RESULTS, LabelKeys, keys_of, looks_like_energy, looks_like_forces, unread_stress
from al_loop.files.labels.sorting import sorted_out
from al_loop.files.outputs import OUTPUTS, no_labels, read_output
from al_loop.files.readers.frame_files import frames_in
from al_loop.files.sources import Source, find_sources
from al_loop.files.stated import as_stated, refuse_other_units
from al_loop.records import Frame
from al_loop.utils.foreign_input import reading
from dft_interfaces.bounds import label_excess, nuclei_excess, structure_excess

Array = NDArray[np.float64]

_ASYMMETRY, _ASYMMETRY_EV_PER_A3 = 1e-3, 1e-4  # of a stress tensor that was printed with few digits
_SAME_EV_PER_ATOM = 1e-6


def read_labelled(paths: Path | Sequence[Path], keys: LabelKeys | None = None) -> LabelledFrames:
    """Read all labelled frames of files, folders and patterns; a frame may lack some labels.

    Args:
        paths: see ``find_sources``.
        keys: names of the labels in files of frames; by default see ``keys_of``.

    Raises:
        InputError: nothing to read, a file that cannot be read, one without labels, or a label of the wrong shape,
            that is not finite, in another unit by what the frame states, or beyond ``dft_interfaces.bounds``; or
            labels that al-loop made at two levels of theory.
    """
    sources = find_sources(paths)
    notes = list(sources.notes)
    frames: list[Frame] = []
    for source in sources.files:
        found = list(labelled_frames(source, keys, notes))
        if any(map(has_label, found)):
            if source.kind not in OUTPUTS:
                _require_names(source.path, found, keys or LabelKeys())
            frames += found
        elif source.named or len(sources.files) == 1:
            raise InputError(_without_labels(source, keys, found))
        elif found:
            notes.append(f"{source.path}: skipped, because no frame in it has an energy or forces.")
    if not frames:
        raise InputError(f"no labels in any of {len(sources.files)} files. {' '.join(notes)}")
    notes += check_levels([frame for frame in frames if has_label(frame)])
    for frame in frames:
        frame.atoms.calc = None

    kept = sorted_out(frames)
    return replace(kept, notes=(*notes, *kept.notes))


def labelled_frames(source: Source, keys: LabelKeys | None, notes: list[str]) -> Iterator[Frame]:
    """Yield the frames of one file that are labels, and frames without any label of files that may hold them.

    Args:
        source: the file.
        keys: keys of the labels, if the user gave them; not used for outputs of codes.
        notes: notes for the user are appended, at the latest after the last frame.

    Raises:
        InputError: a file that cannot be read, one that the user named and that holds no labels, a label of the wrong
            shape or that is not finite, numbers beyond ``dft_interfaces.bounds``, or forces that a constraint set to
            zero.
    """
    frames = _of_output(source, notes) if source.kind in OUTPUTS else _of_frames(source, keys, notes)
    for frame in frames:
        _refuse_beyond_bounds(frame)
        refuse_zeroed_forces(frame.atoms, frame.forces_eV_per_A, frame.where)
        yield frame


def _of_output(source: Source, notes: list[str]) -> Iterator[Frame]:
    output = read_output(source.path, source.kind)
    if not output.labels:
        if source.named:
            raise InputError(no_labels(source.path, source.kind, output))
        notes.append(f"{no_labels(source.path, source.kind, output)}. It was skipped.")
        return
    notes += output.notes(source.path)
    for step in output.labels:
        forces, stress = step.forces_eV_per_A, step.stress_eV_per_A3
        where = f"{source.path}, step {step.number}"
        with reading(where, "check that the output is complete"):
            energy = None if step.energy_eV is None else float(step.energy_eV)
            forces = None if forces is None or not np.isfinite(forces).all() else forces
            stress = None if stress is None or not np.isfinite(stress).all() else stress
            frame = frame_of_file(as_stated(step.atoms, where), energy, forces, stress, where)
        yield frame


def _of_frames(source: Source, keys: LabelKeys | None, notes: list[str]) -> Iterator[Frame]:
    held = frames_in(source)
    chosen = keys or keys_of(source.path, held.names)
    largest_eV, labels, with_free = 0.0, 0, 0
    for index, (atoms, known) in enumerate(held.frames):
        where = f"{source.path}, frame {index}"
        with reading(where, "correct the frame, or remove it"):
            refuse_other_units(atoms.info, where, labels=True)
            frame = _frame(where, as_stated(atoms, where), chosen, known)
            free = _free_energy(where, atoms) if chosen.energy == RESULTS.energy else None
        if free is not None and np.isfinite(frame.energy_eV):
            with_free += 1
            difference = abs(free - frame.energy_eV) / len(atoms)
            largest_eV = max(largest_eV, difference)
            frame = frame if keys is not None else with_label(frame, energy_eV=free)
        labels += bool(np.isfinite(frame.energy_eV))
        yield frame
    if labels and keys is None and chosen is RESULTS and not held.own_results:
        notes.append(
            f"{source.path}: holds no REF_energy and REF_forces; the labels are the calculator's results energy and "
            "forces, which the file does not state to be converged."
        )
    if unread := unread_stress(held.names, chosen):
        notes.append(f"{source.path}: {unread}")
    if 0 < with_free < labels and keys is None:
        notes.append(
            f"{source.path}: {labels - with_free} of {labels} frames hold no free_energy, and their energy is used; if "
            "occupations are smeared, take the same kind of all of them with --energy-key."
        )
    if largest_eV > _SAME_EV_PER_ATOM:
        notes.append(_on_free_energy(source.path, largest_eV, named=keys is not None))


def _frame(where: str, atoms: Atoms, keys: LabelKeys, known: dict[str, Any]) -> Frame:
    """The labels of one frame; some may be missing."""
    energy = _label(where, atoms, keys.energy, ((),))
    forces = _label(where, atoms, keys.forces, ((len(atoms), 3),))
    stress = _label(where, atoms, keys.stress, ((6,), (3, 3), (9,)))
    return frame_of_file(
        atoms,
        None if energy is None else float(energy),
        forces,
        None if stress is None else _voigt(where, stress),
        where,
        known,
    )


def _refuse_beyond_bounds(found: Frame) -> None:
    from al_loop.files.labels.isolated_atoms import is_bare_nucleus  # it knows this module

    numbers = found.energy_eV, found.forces_eV_per_A, found.stress_eV_per_A3
    bounds = nuclei_excess if is_bare_nucleus(found.atoms, found.where) else structure_excess
    excess = bounds(found.atoms) or label_excess(found.atoms, *numbers)
    if excess:
        raise InputError(f"{found.where}: {excess}. Correct the number or its unit, or remove the frame")


def _label(where: str, atoms: Atoms, key: str, shapes: tuple[tuple[int, ...], ...]) -> Array | None:
    value = _find(atoms, key)
    if value is None:
        return None
    with reading(f"{where}: {key}", "expected numbers there; correct it, or remove the label"):
        if np.asarray(value).dtype.kind == "b":
            raise TypeError(f"{str(value)[:40]} is a truth value")
        found = np.asarray(value, dtype=np.float64)
    if found.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise InputError(f"{where}: {key} has shape {found.shape}, expected {wanted}")
    if not np.isfinite(found).all():
        raise InputError(f"{where}: {key} holds NaN or infinite numbers; remove the frame or the label")
    return found


def _find(atoms: Atoms, key: str) -> Any:
    """Find a label in info or arrays, or in the calculator to which ASE's reader moved it."""
    for place in (atoms.info, atoms.arrays, getattr(atoms.calc, "results", {})):
        if key in place:
            return place[key]
    return None


def _free_energy(where: str, atoms: Atoms) -> float | None:
    """The free energy of a frame; None where a file has none, or NaN in its place."""
    value = _find(atoms, "free_energy")
    if isinstance(value, float) and np.isnan(value):
        return None
    found = _label(where, atoms, "free_energy", ((),))
    return None if found is None else float(found)


def _on_free_energy(path: Path, largest_eV: float, *, named: bool) -> str:
    beside = f"differ by up to {1000 * largest_eV:.3g} meV/atom"
    if named:
        return (
            f"{path}: energy is used as requested, but forces are derivatives of free_energy, and the two {beside}; "
            "read the latter with --energy-key free_energy."
        )
    return (
        f"{path}: free_energy is used, of which the forces are the derivative; it and energy (at zero smearing) "
        f"{beside}."
    )


def _require_names(path: Path, frames: Sequence[Frame], keys: LabelKeys) -> None:
    """Raise if a label is missing in the whole file, but present under another key."""
    names = {name for frame in frames for name in _names(frame.atoms)}
    for found, what, key, option, is_one in (
        (
            any(np.isfinite(frame.forces_eV_per_A).all() for frame in frames),
            "forces",
            keys.forces,
            "--forces-key",
            looks_like_forces,
        ),
        (
            any(np.isfinite(frame.energy_eV) for frame in frames),
            "an energy",
            keys.energy,
            "--energy-key",
            looks_like_energy,
        ),
    ):
        if not found and any(is_one(name.lower()) for name in names):
            raise InputError(
                f"{path}: no frame has {what} under the name {key!r}; the frames hold {', '.join(sorted(names))}; name "
                f"the key with {option} (of the whole frame, in {'eV/Å' if what == 'forces' else 'eV'})"
            )


def _without_labels(source: Source, keys: LabelKeys | None, frames: list[Frame]) -> str:
    if not frames:
        return f"{source.path} holds no frames; give at least one labelled structure"
    held = ", ".join(_names(frames[0].atoms)) or "no labels"
    wanted = keys or LabelKeys()
    return (
        f"{source.path}: no frame has forces under the name {wanted.forces!r} or an energy under {wanted.energy!r}; "
        f"the first holds {held}; name the keys with --forces-key and --energy-key, or label with al-loop label"
    )


def _names(atoms: Atoms) -> list[str]:
    return sorted({*atoms.info, *atoms.arrays, *getattr(atoms.calc, "results", {})} - {"numbers", "positions"})


def _voigt(where: str, stress: Array) -> Array:
    if stress.shape == (6,):
        return stress
    tensor = stress.reshape(3, 3)
    if np.abs(tensor - tensor.T).max() > max(_ASYMMETRY * np.abs(tensor).max(), _ASYMMETRY_EV_PER_A3):
        raise InputError(f"{where}: the stress {tensor.tolist()} is not symmetric; correct it, or remove it")
    voigt: Array = full_3x3_to_voigt_6_stress(tensor)
    return voigt
