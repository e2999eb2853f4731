"""How long a trajectory runs before the gate stops trusting it."""

from collections.abc import Iterable

import numpy as np

from al_loop.records import TimeToSuspect, VerdictKind


def time_to_suspect(visits: Iterable[tuple[str, int, VerdictKind]], timestep_fs: float) -> TimeToSuspect | None:
    """Median over trajectories of the time until the first frame that is not trusted; None without trajectories.

    A trajectory that was trusted to its end counts with its length, which its true time is at least.

    Args:
        visits: trajectory, MD step and verdict of each gated frame, in any order.
        timestep_fs: of the dynamics.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for trajectory, step, kind in visits:
        last[trajectory] = max(step, last.get(trajectory, 0))
        if kind is not VerdictKind.TRUSTED:
            first[trajectory] = min(step, first.get(trajectory, step))
    if not last:
        return None
    times_ps = np.array([first.get(name, last[name]) for name in last]) * timestep_fs / 1000
    never = [name for name in last if name not in first]
    median_ps = float(np.median(times_ps))
    open_end = any(last[name] * timestep_fs / 1000 <= median_ps for name in never)
    return TimeToSuspect(median_ps, len(last), len(never), at_least=open_end)
