"""Failures of pw.x are recognised from its output."""

from pathlib import Path

import pytest

from dft_interfaces.engines.calculation import UnconvergedError
from dft_interfaces.engines.espresso_output import magnetic_moments_uB, require_finished
from dft_interfaces.failures import EngineFailureError
from dft_interfaces.label import Failure

DONE = "\n   JOB DONE.\n"
PERCENT = "%" * 78
TIMINGS = "\n     init_run     :      0.11s CPU      0.12s WALL (       1 calls)\n"
CYCLES = """
     iteration #  2     ecut=    29.40 Ry     beta= 0.70
     total energy              =     -16.27 Ry
     convergence NOT achieved after   2 iterations: stopping
"""


def box(*lines: str) -> str:
    return "\n".join(["", PERCENT, *(f"     {line}" for line in lines), PERCENT, ""])


def leave(folder: Path, output: str, errors: str = "") -> Path:
    (folder / "espresso.pwo").write_text(output)
    (folder / "espresso.err").write_text(errors)
    return folder


def test_a_finished_calculation_passes(tmp_path: Path) -> None:
    require_finished(leave(tmp_path, DONE), 0)


@pytest.mark.parametrize("exit_code", [0, 2])
def test_too_few_cycles_are_unconverged_and_the_timings_are_not_quoted(tmp_path: Path, exit_code: int) -> None:
    with pytest.raises(UnconvergedError, match="NOT achieved after   2 iterations") as caught:
        require_finished(leave(tmp_path, CYCLES + TIMINGS + DONE), exit_code)
    assert "init_run" not in str(caught.value)


def test_a_first_pass_need_not_converge_but_must_finish(tmp_path: Path) -> None:
    require_finished(leave(tmp_path, CYCLES + DONE), 0, converged=False)
    with pytest.raises(UnconvergedError):
        require_finished(leave(tmp_path, CYCLES + DONE), 2, converged=False)


@pytest.mark.parametrize("error", ["too many bands are not converged", "problems computing cholesky"])
def test_a_diagonalization_that_fails_is_unconverged(tmp_path: Path, error: str) -> None:
    with pytest.raises(UnconvergedError, match=error):
        require_finished(leave(tmp_path, box("Error in routine c_bands (1):", error)), 1)


@pytest.mark.parametrize(
    ("output", "errors", "exit_code", "failure", "fragment"),
    [
        (box("Error in routine readpp (1):", "file X.upf not found"), "", 1, Failure.CRASH, "readpp (1):\nfile X.upf"),
        ("", "", -9, Failure.CRASH, "signal 9"),
        ("", "At line 12: No space left on device", 2, Failure.DISK, "exit code 2"),
        ("", "", -25, Failure.DISK, "signal 25"),
        ("", "Error allocating 99 bytes\nError: Cannot allocate memory", 1, Failure.MEMORY, "allocating 99"),
        ("     iteration #  1", "", 0, Failure.OUTPUT, "ends before JOB DONE"),
        ("", "", 0, Failure.OUTPUT, "ends before JOB DONE"),
    ],
)
def test_other_ends(tmp_path: Path, output: str, errors: str, exit_code: int, failure: Failure, fragment: str) -> None:
    with pytest.raises(EngineFailureError) as caught:
        require_finished(leave(tmp_path, output, errors), exit_code)
    assert caught.value.failure is failure
    assert fragment in str(caught.value)


def test_a_program_that_left_nothing(tmp_path: Path) -> None:
    with pytest.raises(EngineFailureError, match="exit code 127"):
        require_finished(tmp_path, 127)


def test_moments_are_the_last_ones_and_not_the_constraint(tmp_path: Path) -> None:
    block = """
     Magnetic moment per site:
     atom:    1    charge:   13.9110    magn:    {0}    constr:    0.5000
     atom:    2    charge:   13.9101    magn:   {1}    constr:    0.5000
"""
    leave(tmp_path, block.format("1.0000", "1.0000") + block.format("2.0365", "-2.0349") + DONE)
    assert magnetic_moments_uB(tmp_path, 2) == pytest.approx([2.0365, -2.0349])
    leave(tmp_path, DONE)
    assert magnetic_moments_uB(tmp_path, 2) is None
