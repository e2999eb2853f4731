"""A random audit of a run: the few frames of it that are labelled to calibrate the model on them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms

from al_loop.errors import InputError
from al_loop.files import extxyz
from al_loop.files.labels.near_geometries import near_pairs
from al_loop.files.labels.sorting import NEAR_A, listed
from al_loop.files.trajectories import STEP, read_frames
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.gate.applicability import check_suitable
from al_loop.records import Frame
from al_loop.utils.content_hash import frame_id
from al_loop.utils.paths import check_source, check_target, writing
from committee.atomic_write import replacing_path
from committee.potential import CommitteePotential
from committee.uncertainty.drift import decorrelated_every

COMPARED = 512  # frames of the stream whose latent distances show how long it is correlated
_FRAME_ID = "frame"  # key of a frame's id in its provenance, as in exports


@dataclass(frozen=True)
class Stream:
    """The part of a run's trajectory that is audited.

    The step of a frame is the one that its file states: LAMMPS dumps do, and the trajectories of ``al-loop monitor``.
    Where it states none, it is the number of the frame, from 0, times ``frame_every``.

    Attributes:
        path: the trajectory, from any code.
        since_step: frames of earlier steps are left out; the monitor's ``since_step``.
        frame_every: MD steps between two frames.
    """

    path: Path
    since_step: int = 0
    frame_every: int = 1

    def check(self) -> None:
        """Raise InputError if the file does not exist, or a number is too small."""
        if self.since_step < 0:
            raise InputError(f"--since-step: received {self.since_step}, expected a step, at least 0")
        if self.frame_every < 1:
            raise InputError(f"--frame-every: received {self.frame_every}, expected a number of MD steps, at least 1")
        check_source(f"--stream {self.path}", self.path, "name the trajectory of the run")

    def frames(self) -> Iterator[tuple[int, int, Atoms]]:
        """Yield number in the file, step and structure of each frame, the early ones included."""
        for number, atoms in enumerate(read_frames(self.path)):
            yield number, int(atoms.info.get(STEP, number * self.frame_every)), atoms


def draw(potential: CommitteePotential, stream: Stream, count: int, seed: int, notes: list[str]) -> list[Frame]:
    """Draw one frame at random from each of ``count`` equal parts of a stream, and say how independent they are.

    Args:
        potential: the committee.
        stream: of the run.
        count: number of frames.
        seed: of the choice.
        notes: sentences for the user are appended.

    Raises:
        InputError: frames that cannot be read, that are not for this model, or too few.
    """
    numbers: list[int] = []
    first: list[Atoms] = []
    last = 0
    for number, step, atoms in stream.frames():
        last = step
        if step < stream.since_step:
            continue
        numbers.append(number)
        if len(first) < COMPARED:
            first.append(atoms)
    if first:
        check_suitable(potential, first[0], f"{stream.path}, frame {numbers[0]}", any_periodicity=True)
    if len(numbers) < count:
        raise InputError(
            f"{stream.path} holds {len(numbers)} frames from step {stream.since_step} on, and its last one is of step "
            f"{last}; expected at least {count}. Write frames more often, run longer, give a smaller --count, or "
            "state the MD steps between two frames with --frame-every"
        )
    _note_correlation(potential, stream, count, first, len(numbers), notes)
    edges = np.linspace(0, len(numbers), count + 1).astype(int)
    rng = np.random.default_rng(seed)
    wanted = {numbers[int(rng.integers(low, high))] for low, high in pairwise(edges)}
    found = [(number, step, atoms) for number, step, atoms in stream.frames() if number in wanted]
    if any("verdict" in atoms.info and "reason" in atoms.info for _, _, atoms in found):
        notes.append(
            f"{stream.path} holds frames of alarms, which are not a random sample of the run: the calibration is more "
            "cautious than the run needs."
        )
    return [_frame(stream, number, step, plain_atoms(atoms)) for number, step, atoms in found]


def check_chosen(option: str, path: Path, inputs: Collection[Path]) -> None:
    """Raise InputError if a path, given by this option, is no extended XYZ, is an input, or cannot be written."""
    if path.suffix not in (".extxyz", ".xyz"):
        raise InputError(f"{option}: received {path}, expected a name that ends in .extxyz or .xyz")
    check_target(option, path, inputs)


def write_chosen(option: str, path: Path, frames: Sequence[Frame]) -> None:
    """Write frames, each with its id, as extended XYZ; the file appears once it is complete.

    Raises:
        InputError: the path, given by this option, cannot be written.
    """
    with writing(option, path), replacing_path(path) as part:
        extxyz.write_frames(part, frames)


def labels_of_chosen(labelled: Sequence[Frame], chosen: Path, notes: list[str]) -> list[Frame]:
    """Find the chosen frame of every label, and say which frames have none.

    A label belongs to the frame whose id it states, or else to the frame with the same geometry (in any order of atoms
    and any periodic image).

    Args:
        labelled: from files of any code.
        chosen: the file that ``write_chosen`` wrote.
        notes: sentences for the user are appended.

    Returns:
        The labels, in the order of the chosen frames.

    Raises:
        InputError: a label of none of the frames, or of one whose atoms were moved since; or two labels of one frame.
    """
    check_source(f"--frames {chosen}", chosen, "name the file that --write-frames wrote")
    known = [Frame(str(said.get(_FRAME_ID, "")), atoms) for atoms, said in extxyz.frames(chosen)]
    if not known or any(not frame.frame_id for frame in known):
        raise InputError(f"--frames {chosen}: holds no frames with ids; name the file that --write-frames wrote")
    places = {frame.frame_id: place for place, frame in enumerate(known)}
    near: dict[int, set[int]] = {}
    for pair in near_pairs([frame.atoms for frame in (*known, *labelled)], NEAR_A):
        if pair.first < len(known) <= pair.second:
            near.setdefault(pair.second - len(known), set()).add(pair.first)
    found: dict[int, Frame] = {}
    for number, frame in enumerate(labelled):
        stated = places.get(str(frame.provenance.get(_FRAME_ID, "")))
        matches = near.get(number, set())
        if not matches or (stated is not None and stated not in matches):
            what = "is none of these frames" if stated is None else f"states the id of frame {stated}, but is another"
            raise InputError(
                f"{frame.where}: its geometry {what} in {chosen}; label the frames as they are, without relaxation"
            )
        place = min(matches) if stated is None else stated
        if place in found:
            raise InputError(
                f"{found[place].where} and {frame.where} are labels of frame {place} of {chosen}; keep one"
            )
        found[place] = frame
    missing = [f"frame {place}" for place in range(len(known)) if place not in found]
    if missing:
        notes.append(f"{len(missing)} of {len(known)} frames of {chosen} have no label ({listed(missing)}).")
    return [replace(found[place], provenance={}) for place in sorted(found)]


def _frame(stream: Stream, number: int, step: int, atoms: Atoms) -> Frame:
    """A chosen frame with its id and where it comes from."""
    identity = frame_id(atoms)
    stated = {_FRAME_ID: identity, "stream": stream.path.name, "number": number, "step": step}
    return Frame(identity, atoms, step=step, provenance=stated)


def _note_correlation(
    potential: CommitteePotential, stream: Stream, count: int, first: Sequence[Atoms], total: int, notes: list[str]
) -> None:
    """Say so if fewer independent frames than labels are in the stream."""
    distances = [float(np.max(p.latent_distance)) for p in potential.predict(first) if p.latent_distance is not None]
    stride = decorrelated_every([distances])
    if stride is None:
        notes.append(f"{stream.path}: the frames are too few or too much alike to tell how many are independent.")
    elif total < count * stride:
        notes.append(
            f"{stream.path}: frames are correlated over about {stride}, so that {count} of {total} are worth about "
            f"{total // stride} independent ones; a longer run makes the guarantee worth its confidence."
        )
