"""Read from the outputs of VASP and pw.x whether the electronic steps converged."""

import re

_VASP_LOOP = re.compile(r"aborting loop (because EDIFF is reached)?")
_VASP_ITERATION = re.compile(r"Iteration\s+\S+?\(\s*(\d+)\)")

_PW_ACCURACY = re.compile(r"estimated scf accuracy\s*<\s*(\S+)\s*Ry")
_PW_ACHIEVED = re.compile(r"convergence (has been achieved|NOT achieved)")
_PW_THRESHOLD = re.compile(r"(scf convergence threshold|new conv_thr)\s*=\s*(\S+)")


def vasp_converged(text: str, max_steps: int | None = None) -> bool | None:
    """Return whether the last electronic loop in a part of an OUTCAR met EDIFF; None if the text does not show it.

    VASP 6 prints a line in either case. VASP 5 prints none where the loop reached NELM.

    Args:
        text: the part, which holds the electronic loop of one ionic step.
        max_steps: NELM.
    """
    reasons = _VASP_LOOP.findall(text)
    if reasons:
        return bool(reasons[-1] == "because EDIFF is reached")
    steps = [int(step) for step in _VASP_ITERATION.findall(text)]
    return None if max_steps is None or not steps else steps[-1] < max_steps


def pw_thresholds_Ry(text: str) -> list[float]:
    """Return the thresholds of the self-consistency cycle in a part of pw.x's output, in order."""
    return [_rounded_up(value, absolute="new" in name) for name, value in _PW_THRESHOLD.findall(text)]


def pw_converged(text: str, threshold_Ry: float | None) -> bool:
    """Return whether the self-consistency cycle of one ionic step of pw.x converged.

    With ``scf_must_converge = .false.`` pw.x prints "convergence has been achieved" after any cycle, so the estimated
    accuracy is compared with the threshold as well.

    Args:
        text: the output of the step.
        threshold_Ry: the threshold in force, see ``pw_thresholds_Ry``; None if the output states none.
    """
    outcomes = _PW_ACHIEVED.findall(text)
    if not outcomes or outcomes[-1] == "NOT achieved":
        return False
    if "EXX: now go back to refine exchange calculation" in text and "EXX self-consistency reached" not in text:
        return False
    accuracies = _PW_ACCURACY.findall(text)
    return threshold_Ry is None or (bool(accuracies) and float(accuracies[-1]) <= threshold_Ry)


def _rounded_up(value: str, *, absolute: bool) -> float:
    """Return the largest threshold that prints as this value: two digits, or ten decimals during a relaxation."""
    number = float(value.replace("D", "E"))
    return number + 0.6e-10 if absolute else number * 1.06
