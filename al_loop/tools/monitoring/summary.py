"""Summary of a run so far, in constant memory."""

from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_loop.tools.monitoring.trajectory_gate import Check, UncertaintySource, finite

RECENT = 100  # checks
KEPT_EPISODES = 20
WORST = 5


@dataclass
class Episode:
    """Consecutive untrusted checks: which check of the gate failed first, and its reason."""

    first_step: int
    last_step: int
    checks: int
    check: str
    reason: str


class Summary:
    """Counts checks.

    Attributes:
        checks: number of them.
        verdicts: count of each kind.
        alarms_by_check: number of alarms by the check of the gate that failed.
        looked: how the force uncertainties were found.
        last_trusted: the last check that was trusted, None before the first.
        last: the last check.
        in_a_row: consecutive untrusted checks up to now.
    """

    def __init__(self) -> None:
        self.checks = 0
        self.verdicts: Counter[str] = Counter()
        self.alarms_by_check: Counter[str] = Counter()
        self.looked: Counter[str] = Counter()
        self.uncalibrated = 0
        self.last_trusted: Check | None = None
        self.last: Check | None = None
        self.first: Check | None = None
        self.in_a_row = 0
        self.episodes_in_all = 0
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._episodes: deque[Episode] = deque(maxlen=KEPT_EPISODES)
        self._alarm_counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._largest_ratio: NDArray[np.float64] = np.zeros(0)
        self._symbols: list[str] = []

    def add(self, check: Check, symbols: list[str], uncertainty_ratio: NDArray[np.float64] | None) -> None:
        """Count a check, with the (n,) symbols of its frame and, if exact, uncertainties in trust thresholds (n,)."""
        self.first = self.first or check
        self.last = check
        self.checks += 1
        self.verdicts[check.verdict.kind.value] += 1
        self.looked[check.looked.value] += 1
        self.uncalibrated += check.uncalibrated
        self._recent.append(check.trusted)
        self._count_atoms(check, symbols, uncertainty_ratio)
        if check.trusted:
            self.last_trusted = check
        if check.alarm:
            self._alarm(check)
        else:
            self.in_a_row = 0

    @property
    def alarms(self) -> int:
        """Checks that were an alarm."""
        return sum(self.alarms_by_check.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        last, trusted = self.last, self.last_trusted
        since_ps = None
        if last is not None and trusted is not None and last.time_ps is not None and trusted.time_ps is not None:
            since_ps = finite(last.time_ps - trusted.time_ps)
        return {
            "checks": self.checks,
            "share_trusted": round(self.verdicts["trusted"] / self.checks, 6) if self.checks else 0.0,
            "share_trusted_recent": round(sum(self._recent) / len(self._recent), 6) if self._recent else 0.0,
            "verdicts": dict(self.verdicts),
            "uncalibrated": self.uncalibrated,
            "alarms": self.alarms,
            "alarms_by_check": dict(self.alarms_by_check),
            "episodes": self.episodes_in_all,
            "latest_episodes": [asdict(episode) for episode in self._episodes],
            "worst_atoms": self.worst_atoms(),
            "first_step": None if self.first is None else self.first.step,
            "last_step": None if last is None else last.step,
            "last_trusted_step": None if trusted is None else trusted.step,
            "since_trusted_steps": None if last is None or trusted is None else last.step - trusted.step,
            "since_trusted_ps": since_ps,
            "force_uncertainty_found": {looked.value: self.looked[looked.value] for looked in UncertaintySource},
        }

    def worst_atoms(self) -> list[dict[str, Any]]:
        """The atoms with most alarms, then those with the largest uncertainty."""
        order = np.lexsort((-self._largest_ratio, -self._alarm_counts))
        worst = [int(i) for i in order[:WORST] if self._alarm_counts[i] or self._largest_ratio[i] > 1]
        return [
            {
                "atom": i,
                "element": self._symbols[i],
                "alarms": int(self._alarm_counts[i]),
                "largest_uncertainty_over_threshold": finite(float(self._largest_ratio[i])),
            }
            for i in worst
        ]

    def _alarm(self, check: Check) -> None:
        self.alarms_by_check[check.verdict.check.value] += 1
        self.in_a_row += 1
        if self.in_a_row == 1:
            name, reason = check.verdict.check.value, check.verdict.reason
            self._episodes.append(Episode(check.step, check.step, 0, name, reason))
            self.episodes_in_all += 1
        self._episodes[-1].checks += 1
        self._episodes[-1].last_step = check.step

    def _count_atoms(self, check: Check, symbols: list[str], uncertainty_ratio: NDArray[np.float64] | None) -> None:
        if symbols != self._symbols:  # another system: indices mean other atoms
            self._symbols = symbols
            self._alarm_counts, self._largest_ratio = np.zeros(len(symbols), dtype=np.int64), np.zeros(len(symbols))
        if check.alarm and check.verdict.atoms:
            self._alarm_counts[list(check.verdict.atoms)] += 1
        if uncertainty_ratio is not None:
            np.fmax(self._largest_ratio, uncertainty_ratio, out=self._largest_ratio)
