"""One label from several tries: the next retry strategy if unconverged, the same after a growing pause if crashed."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ase import Atoms

from dft_interfaces.engine import DFTEngine
from dft_interfaces.label import Attempt, Failure, Label, LabelStatus
from dft_interfaces.settings.limits import RetrySettings

ANOTHER_WAY = frozenset({Failure.UNCONVERGED, Failure.TIME, Failure.NOT_FINITE, Failure.NET_FORCE, Failure.OUTLIER})
"""The same calculation would end the same way: the next retry strategy is tried at once."""

SAME_AGAIN = frozenset({Failure.CRASH, Failure.MEMORY, Failure.DISK, Failure.OUTPUT, Failure.CANCELLED})
"""The environment may be the cause: the same calculation is tried again after a pause."""

FIRST = "first try"


@dataclass(frozen=True)
class _Try:
    what: str
    label: Label


def labelled_with_retries(
    engine: DFTEngine, atoms: Atoms, retry: RetrySettings, sleep: Callable[[float], object] = time.sleep
) -> Label:
    """Label a structure, in several tries if necessary.

    Returns:
        The first converged label, or else the last failure. With more than one try its cost is that of all, its
        attempts are all calculations, and its message lists the earlier tries.
    """
    tries = list(_tries(engine, atoms, retry, sleep))
    last = tries[-1].label
    if len(tries) == 1:
        return last
    return replace(
        last,
        cost_s=sum(one.label.cost_s for one in tries),
        message=f"{_summary(tries)}\n{last.message}".strip(),
        attempts=tuple(attempt for one in tries for attempt in _attempts(one)),
    )


def _tries(engine: DFTEngine, atoms: Atoms, retry: RetrySettings, sleep: Callable[[float], object]) -> Iterator[_Try]:
    strategies = iter(engine.ladder)
    strategy: Any = None
    what, delay_s = FIRST, retry.delay_s
    earlier: Label | None = None
    for number in range(1, retry.tries + 1):
        label = engine.label(atoms, strategy)
        yield _Try(what, label)
        if number == retry.tries or label.status is LabelStatus.CONVERGED or _same_crash(label, earlier):
            return
        earlier = label
        if label.failure in ANOTHER_WAY:
            strategy = next(strategies, None)
            if strategy is None:
                return
            what = strategy.name
        elif label.failure in SAME_AGAIN:
            sleep(delay_s)
            what = f"{'the same' if strategy is None else strategy.name} after {delay_s:g} s"
            delay_s *= retry.delay_factor
        else:
            return


def _same_crash(label: Label, earlier: Label | None) -> bool:
    """Return whether the engine raised the identical error twice, which a further pause would not change."""
    return earlier is not None and label.failure is Failure.CRASH and label.message == earlier.message


def _summary(tries: Sequence[_Try]) -> str:
    """Return the tries and their outcomes in one line."""
    before = ", ".join(f"{one.what}: {one.label.failure}" for one in tries[:-1])
    last = tries[-1]
    if last.label.status is LabelStatus.CONVERGED:
        return f"converged in try {len(tries)} ({last.what}), after {before}"
    return f"given up after {len(tries)} tries ({before}, {last.what}: {last.label.failure})"


def _attempts(one: _Try) -> Iterator[Attempt]:
    """Yield the calculations of one try; an engine that made several lists them in its label."""
    label = one.label
    if not label.attempts:
        yield label.as_attempt(one.what)
    for attempt in label.attempts:
        yield replace(attempt, what=f"{one.what}, {attempt.what}")
