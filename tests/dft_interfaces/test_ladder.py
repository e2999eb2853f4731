"""Retries: the next strategy if unconverged, growing pauses after a crash; bounded and recorded."""

from pathlib import Path

import pytest
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine
from dft_interfaces.jobs.retry import labelled_with_retries
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import ASECalculatorSettings, GPAWSettings, PySCFSettings, RetrySettings
from dft_interfaces.settings.gpaw import GPAWRetryStrategy
from dft_interfaces.settings.pyscf import PySCFRetryStrategy

RETRY = RetrySettings(tries=4, delay_s=5, delay_factor=4)
MORE_CYCLES = PySCFRetryStrategy(name="more cycles", max_cycles=60)


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "integration"))


def failing(how, tmp_path, times):
    arguments = {"how": how, "count_file": str(tmp_path / "count"), "times": times}
    return build_engine(
        ASECalculatorSettings(engine="ase", calculator="failing_calculators.FailingEMT", arguments=arguments)
    )


def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_what_works_at_once_is_returned_as_it_is(tmp_path):
    label = labelled_with_retries(failing("", tmp_path, 0), bulk("Cu"), RETRY, pytest.fail)
    assert label.status is LabelStatus.CONVERGED
    assert (label.attempts, label.message) == ((), "")


def test_an_impossible_scf_is_tried_once_on_each_retry_strategy_and_given_up():
    strategies = tuple(PySCFRetryStrategy(name=f"{cycles} cycles", max_cycles=cycles) for cycles in (2, 3))
    engine = build_engine(PySCFSettings(engine="pyscf", max_cycles=1, ladder=strategies))
    label = labelled_with_retries(engine, water(), RETRY, pytest.fail)
    assert (label.status, label.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert [attempt.what for attempt in label.attempts] == ["first try", "2 cycles", "3 cycles"]
    assert label.cost_s == pytest.approx(sum(attempt.cost_s for attempt in label.attempts))
    assert label.message.startswith("given up after 3 tries (first try: not converged, 2 cycles: not converged")
    assert "cycle= 3" in label.message  # the engine's own last lines


def test_the_retry_strategy_that_converges_gives_the_requested_energy():
    settings = PySCFSettings(engine="pyscf", max_cycles=2, ladder=(MORE_CYCLES,))
    label = labelled_with_retries(build_engine(settings), water(), RETRY, pytest.fail)
    plain = build_engine(PySCFSettings(engine="pyscf")).label(water())
    assert label.energy_eV == pytest.approx(plain.energy_eV, abs=1e-6)
    assert label.level_of_theory == plain.level_of_theory
    assert label.message == "converged in try 2 (more cycles), after first try: not converged"
    assert [(attempt.what, attempt.failure) for attempt in label.attempts] == [
        ("first try", Failure.UNCONVERGED),
        ("more cycles", None),
    ]


def test_gpaw_uses_its_retry_strategies_too():
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    ladder = (GPAWRetryStrategy(name="more cycles", max_cycles=60),)
    settings = GPAWSettings(engine="gpaw", cutoff_eV=250, kpoint_density_A=3, max_cycles=2, ladder=ladder)
    label = labelled_with_retries(build_engine(settings), atoms, RETRY, pytest.fail)
    assert label.status is LabelStatus.CONVERGED
    assert label.message.startswith("converged in try 2 (more cycles)")
    assert "iter:   2" in label.attempts[0].message


def test_no_more_tries_than_allowed():
    settings = PySCFSettings(engine="pyscf", max_cycles=2, ladder=(MORE_CYCLES,))
    label = labelled_with_retries(build_engine(settings), water(), RetrySettings(tries=1), pytest.fail)
    assert (label.failure, label.attempts) == (Failure.UNCONVERGED, ())


def test_a_crash_is_retried_unchanged_after_growing_pauses(tmp_path):
    pauses = []
    label = labelled_with_retries(failing("disk_full", tmp_path, 2), bulk("Cu"), RETRY, pauses.append)
    assert label.status is LabelStatus.CONVERGED
    assert pauses == [5, 20]
    assert label.message == "converged in try 3 (the same after 20 s), after first try: disk, the same after 5 s: disk"


def test_a_disk_that_stays_full_is_given_up_on(tmp_path):
    pauses = []
    label = labelled_with_retries(failing("disk_full", tmp_path, 99), bulk("Cu"), RETRY, pauses.append)
    assert (label.failure, pauses, len(label.attempts)) == (Failure.DISK, [5, 20, 80], 4)
    assert "No space left on device" in label.message


def test_the_same_error_twice_will_come_a_third_time(tmp_path):
    pauses = []
    label = labelled_with_retries(failing("raise_error", tmp_path, 99), bulk("Cu"), RETRY, pauses.append)
    assert (label.failure, pauses) == (Failure.CRASH, [5])
    assert label.message.endswith("something is wrong with it\n".strip())


def test_an_unsuitable_structure_is_not_tried_again(tmp_path):
    label = labelled_with_retries(failing("", tmp_path, 0), bulk("Cu", a=0.1), RETRY, pytest.fail)
    assert (label.status, label.failure, label.attempts) == (LabelStatus.REJECTED, Failure.UNSUITABLE, ())
