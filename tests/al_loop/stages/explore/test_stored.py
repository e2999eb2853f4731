"""Trajectories on disk: interrupted anywhere, they end with the same bits."""

import shutil

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.records import Role
from al_loop.stages.explore import run
from al_loop.stages.explore.run import STATE, explore_stored
from al_loop.stages.explore.trajectory_io import read_frames
from al_loop.structures.start import Start
from benchmarks.in_memory import explore
from committee.backbones import load_backbone
from committee.potential import CommitteePotential
from committee.settings import SevenNetSettings

SETTINGS = ExploreSettings(
    temperatures_K=(300,),
    steps=6,
    check_every=2,
    timestep_fs=1.0,
    ramp_to_K=600,
    pressure_GPa=1.0,
    ramp_to_GPa=3.0,
    relax_cell=True,
)
PHYSICS = PhysicsSettings()


@pytest.fixture(scope="module")
def potential():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(atoms, name, ensemble, seed=0):
    atoms.info.update(charge=0)
    moved = atoms.copy()
    moved.rattle(0.03, rng=np.random.default_rng(seed))
    temperature_K = 0.0 if ensemble == "relax" else 300.0
    return Start(name, f"{name}/{ensemble}", Role.EXPLORE, moved, atoms, temperature_K, (seed,), ensemble)


def broken():
    overlapping = molecule("H2O")
    overlapping.set_distance(0, 1, 0.25, fix=0)
    return Start("broken", "broken/0", Role.EXPLORE, overlapping, molecule("H2O"), 300.0, (1,))


def starts():
    magnetic = bulk("Fe", cubic=True)
    magnetic.set_initial_magnetic_moments([2.2, -2.2])
    return [
        start(molecule("CH3OH"), "methanol", "langevin"),
        broken(),
        start(magnetic, "iron", "npt", seed=1),
        start(bulk("Cu", cubic=True), "copper", "nve", seed=2),
        start(bulk("Al") * (2, 1, 1), "aluminium", "bussi", seed=3),
        start(bulk("Si"), "silicon", "relax", seed=4),
    ]


def bits(trajectories):
    return [path.read_bytes() if path.exists() else b"" for path in trajectories.paths()]


class Killed(BaseException):
    """What no code catches, as a signal would not be."""


def killed_after(calls, function):
    """The same function, which comes to its ``calls``-th call and no further."""
    count = 0

    def counting(*arguments):
        nonlocal count
        count += 1
        if count == calls:
            raise Killed
        return function(*arguments)

    return counting


@pytest.fixture(scope="module")
def undisturbed(potential, tmp_path_factory):
    torch.set_num_threads(1)
    return explore_stored(tmp_path_factory.mktemp("whole"), potential, starts(), SETTINGS, PHYSICS)


def test_what_is_stored_is_what_was_met(potential, undisturbed):
    explored = explore(potential, starts(), SETTINGS, PHYSICS)
    read_back = list(undisturbed.visits())
    assert len(explored) == 4 * 5 + 1
    for one, other in zip(explored, read_back, strict=True):
        assert one == other
        assert (one.atoms.positions == other.atoms.positions).all()
        assert (one.atoms.cell.array == other.atoms.cell.array).all()
        assert (one.atoms.get_initial_magnetic_moments() == other.atoms.get_initial_magnetic_moments()).all()
        assert one.atoms.info == other.atoms.info
        assert (one.descriptor is None) == (other.descriptor is None)
        assert one.descriptor is None or (one.descriptor == other.descriptor).all()


@pytest.mark.parametrize(("what", "calls"), [("append", 8), ("save", 2)])
def test_an_interrupted_run_ends_with_the_same_bits(potential, undisturbed, tmp_path, monkeypatch, what, calls):
    with monkeypatch.context() as patched:
        patched.setattr(run, what, killed_after(calls, getattr(run, what)))
        with pytest.raises(Killed):
            explore_stored(tmp_path, potential, starts(), SETTINGS, PHYSICS)
    steps = []
    resumed = explore_stored(tmp_path, potential, starts(), SETTINGS, PHYSICS, steps.append)
    assert bits(resumed) == bits(undisturbed)
    assert sum(steps) == SETTINGS.steps
    state = np.load(tmp_path / STATE)
    assert (state["plain.json"] == np.load(undisturbed.folder / STATE)["plain.json"]).all()


def test_a_frame_that_was_half_written_is_written_again(potential, undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(run, "append", killed_after(8, run.append))
        with pytest.raises(Killed):
            explore_stored(tmp_path, potential, starts(), SETTINGS, PHYSICS)
    with next(tmp_path.glob("*methanol*")).open("a") as file:
        file.write('6\nLattice="1.0 0')
    assert bits(explore_stored(tmp_path, potential, starts(), SETTINGS, PHYSICS)) == bits(undisturbed)


def test_a_trajectory_has_the_same_bits_whatever_shares_its_batch(potential, undisturbed, tmp_path):
    for index in (2, 3):
        alone = explore_stored(tmp_path / str(index), potential, starts()[index : index + 1], SETTINGS, PHYSICS)
        assert bits(alone)[0] == bits(undisturbed)[index]


class Unasked:
    """A model that must not be evaluated."""

    def __init__(self, potential):
        self.__dict__.update(potential.__dict__)


def test_a_finished_run_is_left_as_it_is(potential, undisturbed):
    before = bits(undisturbed)
    again = explore_stored(undisturbed.folder, Unasked(potential), starts(), SETTINGS, PHYSICS)
    assert bits(again) == before


def damaged(content):
    """The same file with one digit of a coordinate changed."""
    place = content.index(b"Cu ", len(content) // 2) + 8
    while not content[place : place + 1].isdigit():
        place += 1
    return content[:place] + (b"1" if content[place : place + 1] != b"1" else b"2") + content[place + 1 :]


@pytest.mark.parametrize("lost", ["state", "frames", "garbage", "digit"])
def test_what_cannot_be_gone_on_from_is_started_again(potential, undisturbed, tmp_path, lost):
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True)
    if lost == "state":
        (tmp_path / STATE).unlink()
    elif lost == "frames":  # a power cut before the frames reached the disk
        next(tmp_path.glob("*copper*")).write_text("")
    elif lost == "digit":  # a frame that still can be read, and is another
        path = next(tmp_path.glob("*copper*"))
        path.write_bytes(damaged(path.read_bytes()))
    else:
        (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:300])
    assert bits(explore_stored(tmp_path, potential, starts(), SETTINGS, PHYSICS)) == bits(undisturbed)


def test_a_run_with_other_settings_does_not_go_on_from_this_one(potential, tmp_path):
    only = [start(bulk("Cu", cubic=True), "copper", "nve", seed=2)]
    first = bits(explore_stored(tmp_path, potential, only, SETTINGS, PHYSICS))
    other = SETTINGS.model_copy(update={"timestep_fs": 2.0})
    assert bits(explore_stored(tmp_path, potential, only, other, PHYSICS)) != first


def test_any_viewer_opens_a_trajectory(undisturbed):
    frames = read(undisturbed.paths()[2], index=":")
    assert len(frames) == 4
    assert frames[0].get_velocities().any()
    assert np.isfinite(frames[-1].get_potential_energy())
    assert frames[0].get_volume() != frames[-1].get_volume()


def test_a_relaxation_ends_at_its_minimum(undisturbed):
    (silicon,) = (
        pair for pair in zip(undisturbed.starts, undisturbed.paths(), strict=True) if pair[0].system == "silicon"
    )
    visits = list(read_frames(silicon[1], silicon[0]))
    energies = [atoms.get_potential_energy() for atoms in read(silicon[1], index=":")]
    assert energies == sorted(energies, reverse=True)
    assert visits[0].temperature_K == 0
