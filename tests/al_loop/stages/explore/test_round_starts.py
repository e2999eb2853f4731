"""Starts of later rounds, and held-out frames."""

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.io import write

from al_loop import load_config
from al_loop.records import Role
from al_loop.stages.explore.hold_out import held_out_starts, hold_out
from al_loop.stages.explore.starts import round_starts
from committee.backbones import load_backbone
from committee.potential import CommitteePotential
from committee.settings import SevenNetSettings

VACANCY = [{"kind": "supercell", "repeats": [2, 1, 1]}, {"kind": "vacancy", "element": "Cu"}]


@pytest.fixture
def config(tmp_path):
    write(tmp_path / "cu.cif", bulk("Cu", cubic=True))

    def load(hold_out=None, **explore):
        path = tmp_path / "config.yaml"
        settings = {
            "name": "test",
            "folder": str(tmp_path / "run"),
            "seed": 4,
            "foundation": {"kind": "sevennet"},
            "systems": [{"file": "cu.cif", "variants": [[], VACANCY], "charge": 1}],
            "explore": {"temperatures_K": [300, 600], **explore},
            "hold_out": hold_out or {},
            "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
        }
        path.write_text(yaml.safe_dump(settings))
        return load_config(path)

    return load


def none(_round):
    return {}


class Stopped:
    """Frames of stopped trajectories, as of the ledger, each at a recognisable frame."""

    def __init__(self, starts_of, names):
        self.frames = {}
        for round_, chosen in names.items():
            for start in starts_of(round_, self):
                if start.trajectory in chosen:
                    frame = start.atoms.copy()
                    frame.positions += 0.01 * (round_ + 1)
                    self.frames.setdefault(round_, {})[start.trajectory] = frame

    def __call__(self, round_):
        return self.frames.get(round_, {})


def test_every_round_starts_from_the_structures_by_default(config):
    loaded = config(replicas=2)
    first, second = (round_starts(loaded, round_, none) for round_ in (0, 1))
    assert [one.trajectory for one in first] == [other.trajectory for other in second]
    assert len(first) == 8
    assert not (first[0].atoms.positions == second[0].atoms.positions).all()
    assert {start.atoms.info["charge"] for start in first} == {1}


def test_a_share_starts_before_the_failures_of_the_round_before(config):
    loaded = config(replicas=2, from_failures=0.25)
    names = {"cu/as-is/600K/0", "cu/as-is/600K/1", "cu/supercell+vacancy/600K/1"}
    stopped = Stopped(lambda round_, known: round_starts(loaded, round_, known), {0: names})
    former = {start.trajectory: start for start in round_starts(loaded, 0, none)}
    starts = round_starts(loaded, 1, stopped)
    continued = [start for start in starts if start.trajectory.endswith("/continued")]
    assert len(starts) == 8
    assert len(continued) == 2
    for start in continued:
        name = start.trajectory.removesuffix("/continued")
        assert name in names
        assert (start.atoms.positions == stopped(0)[name].positions).all()
        assert start.intact == former[name].intact
        assert not start.atoms.has("momenta")
        assert start.seed == (4, 1, 1, list(former).index(name), 1)
    assert starts == round_starts(loaded, 1, stopped)


def test_a_continued_trajectory_can_fail_again(config):
    """Its vacancy is at the site of the first round, wherever this round would have put it."""
    loaded = config(replicas=1, from_failures=0.25)
    name = "cu/supercell+vacancy/600K/0"
    names = {0: {name}, 1: {f"{name}/continued"}}
    stopped = Stopped(lambda round_, known: round_starts(loaded, round_, known), names)
    (last,) = (start for start in round_starts(loaded, 2, stopped) if start.trajectory == f"{name}/continued")
    (first,) = (start for start in round_starts(loaded, 0, none) if start.trajectory == name)
    assert last.intact == first.intact
    np.testing.assert_allclose(last.atoms.positions, first.atoms.positions + 0.03)


def test_a_frame_in_another_order_is_its_own_reference(config):
    loaded = config(from_failures=0.25)
    name = "cu/as-is/300K/0"
    frame = bulk("Cu", cubic=True)
    frame.numbers[0] = 79
    (start,) = (s for s in round_starts(loaded, 1, lambda _: {name: frame}) if s.trajectory.endswith("continued"))
    assert start.atoms == start.intact == frame


def test_held_out_frames_come_from_the_same_conditions(config):
    frames = {"test_frames": 4, "calibration_frames": 4}
    loaded = config(frames, steps=2, check_every=1, ensemble="bussi", ramp_to_K=900)
    potential = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))
    steps = []
    starts = held_out_starts(loaded)
    visits = hold_out(loaded, potential, loaded.folder / "held", starts, steps.append)
    conditions = ["cu/as-is/300K/0", "cu/as-is/600K/0", "cu/supercell+vacancy/300K/0", "cu/supercell+vacancy/600K/0"]
    for role in (Role.TEST, Role.CALIBRATION):
        assert [visit.trajectory for visit in visits if visit.role is role] == conditions
    assert {visit.temperature_K for visit in visits} == {900}
    assert len({visit.frame_id for visit in visits}) == 8
    assert steps == [1, 1]
    again = []
    assert hold_out(loaded, potential, loaded.folder / "held", starts, again.append) == visits
    assert again == [2]


def test_every_condition_has_its_share_of_held_out_frames_also_one_that_is_added(config):
    """12 frames over four conditions, then over six: two new ones with two frames each."""
    frames = {"test_frames": 4, "calibration_frames": 12}
    first, more = config(frames), config(frames, temperatures_K=[300, 600, 900])
    names = ["cu/as-is/{}K/0", "cu/supercell+vacancy/{}K/0"]
    for role, share in ((Role.TEST, 1), (Role.CALIBRATION, 3)):
        mine = [one for one in held_out_starts(first) if one.start.role is role]
        assert [one.start.trajectory for one in mine] == [name.format(t) for name in names for t in (300, 600)]
        assert {one.share for one in mine} == {share}
    added = held_out_starts(more, [first])
    calibrating = [one for one in added if one.start.role is Role.CALIBRATION]
    assert [(one.start.trajectory, one.share) for one in calibrating] == [(name.format(900), 2) for name in names]
    assert held_out_starts(more, [first, more]) == held_out_starts(first, [more]) == []
    seeds = [one.start.seed for one in (*held_out_starts(first), *added)]
    assert len(set(seeds)) == len(seeds)


def test_nothing_is_held_out_again_where_temperatures_have_no_effect(config):
    relaxed, other = config(ensemble="relax"), config(ensemble="relax", temperatures_K=[900])
    assert len(held_out_starts(relaxed)) == 4
    assert held_out_starts(other, [relaxed]) == []


def test_a_stopped_trajectory_is_continued_at_its_own_temperature_after_others_were_added(config):
    former, loaded = config(from_failures=0.25), config(from_failures=0.25, temperatures_K=[100, 600, 900])
    names = {0: {"cu/as-is/300K/0", "cu/supercell+vacancy/600K/0"}}
    stopped = Stopped(lambda round_, known: round_starts(former, round_, known), names)
    starts = round_starts(loaded, 1, stopped, lambda _: former)
    continued = [(start.trajectory, start.temperature_K) for start in starts if start.trajectory.endswith("continued")]
    assert continued == [("cu/supercell+vacancy/600K/0/continued", 600)]  # nothing runs at 300 K any more
