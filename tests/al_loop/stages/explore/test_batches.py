"""Batches over several threads give what one thread gives."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from al_loop.stages.explore.batched_evaluation import BATCH_ATOMS, Batches
from committee.backbones import load_backbone
from committee.errors import StructureError
from committee.potential import CommitteePotential
from committee.settings import SevenNetSettings


@pytest.fixture(scope="module")
def potential():
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def frames():
    kinds = [bulk("Cu"), bulk("Si", cubic=True), molecule("CH3OH"), bulk("NaCl", "rocksalt", a=5.64, cubic=True)]
    made = [atoms.copy() for _ in range(3) for atoms in kinds]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, rng=np.random.default_rng(seed))
    return made


def test_the_bits_do_not_depend_on_the_threads(potential, threads):
    predictions = []
    for count in (1, 2):
        threads(count)
        predictions.append(Batches(potential).predict(frames(), "exact"))
        assert torch.get_num_threads() == count
    for one, two in zip(*predictions, strict=True):
        assert one.energy == two.energy
        assert (one.forces == two.forces).all()
        assert (one.forces_uncertainty == two.forces_uncertainty).all()
        assert (one.features == two.features).all()


def test_each_worker_has_one_thread_of_torchs(potential, threads):
    threads(2)
    batches = Batches(potential)
    with batches._workers() as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(8))) == [1] * 8
    assert torch.get_num_threads() == 2


def test_batches_are_small_and_as_many_as_threads(potential, threads):
    threads(2)
    batches = list(Batches(potential)._split(frames()))
    assert [start for start, _ in batches] == list(np.cumsum([0, *(len(batch) for _, batch in batches)])[:-1])
    assert max(sum(map(len, batch)) for _, batch in batches) <= BATCH_ATOMS
    assert len(list(Batches(potential)._split([molecule("H2O")] * 2))) == 2
    assert [len(batch) for _, batch in Batches(potential)._split([bulk("Cu", cubic=True) * (3, 3, 3)])] == [1]


@pytest.mark.parametrize("count", [1, 2])
def test_the_frame_without_an_answer_is_named(potential, threads, count):
    threads(count)
    given = frames()
    given[10].positions[0] = np.nan
    with pytest.raises(StructureError) as raised:
        Batches(potential).predict(given, "energy")
    assert raised.value.frame_index == 10


class Alone:
    """A foundation that only one thread may evaluate, in a potential that records its calls."""

    def __init__(self, potential):
        self.backbone = object()
        self.calls = []
        self._potential = potential

    def predict(self, frames, uncertainty, batch_atoms):
        self.calls.append(len(frames))
        return self._potential.predict(frames, uncertainty, batch_atoms=batch_atoms)


def test_a_foundation_that_keeps_a_state_is_asked_by_one_thread(potential, threads):
    threads(2)
    alone = Alone(potential)
    assert len(Batches(alone).predict(frames(), "energy")) == 12
    assert alone.calls == [12]
