"""Drift: whether the frames of a run still come from where the calibration frames came from, tested at every frame.

The null hypothesis is that the frames of the run and the calibration frames are exchangeable. Under it the number of
frames above the c-th largest score of n calibration frames grows like a Pólya urn: after t frames, a of which were
above, the next is above with probability p = (c + a)/(n + 1 + t), whatever the distribution of the scores. A bet of the
fraction λ on "above" multiplies a capital of 1 by 1 + λ(1 - p)/p if it is above and by 1 - λ if not, so that the
capital is a martingale, for which P(ever ≥ 1/α) ≤ α (Ville). The capital is spread over several c and λ, and over the
frame at which betting begins, weight 1/(j(j + 1)) for frame j, because nobody knows when a drift sets in.

Frames of dynamics are correlated, which would count the same evidence repeatedly: only every s-th is used, s from the
autocorrelation of the scores themselves. A score below those of the calibration frames never raises the evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from committee.errors import CheckpointError
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import largest

Array = NDArray[np.float64]

FALSE_ALARM_PROBABILITY = 0.01  # of a run of any length
WARM_UP = 32  # checks of which the first autocorrelation is taken
LONGEST_HISTORY = 4096  # checks of which the last one is taken
MIN_CONDITION_FRAMES = 5  # a condition with fewer calibration frames counts only together with the others
_TAILS = (0.0, 0.1, 0.25, 0.5)  # ranks c, as fractions of the calibration frames
_STAKES = (0.25, 0.5, 0.9)  # λ
_SECURE = 10  # a block must be this many autocorrelation times long
_SPACING = 2  # between two used frames, in autocorrelation times


@dataclass(frozen=True)
class CalibrationScores:
    """Scores of the calibration frames, with which the frames of a run are compared.

    Attributes:
        uncertainty: (frames,) uncertainty of each frame, eV/Å, as the gate uses it.
        latent_distance: (frames,) largest latent distance.
        conditions: (frames,) origin of each frame, for example system and temperature; empty if all are alike.
    """

    uncertainty: tuple[float, ...]
    latent_distance: tuple[float, ...]
    conditions: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        sigmas: Sequence[Array],
        latent: Sequence[Array],
        conditions: Sequence[str] = (),
    ) -> Self:
        """Score the frames that a calibration was fitted to.

        Args:
            calibration: of these frames.
            sigmas: per frame, (n,) norm of each atom's force spread, eV/Å.
            latent: per frame, (n,) latent distance.
            conditions: origin of each frame; empty if all are alike.
        """
        combined = [calibration.frame_uncertainty(sigma, spread) for sigma, spread in zip(sigmas, latent, strict=True)]
        return cls(tuple(combined), tuple(largest(latent).tolist()), tuple(conditions))

    @property
    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which frames belong to each condition with enough of them, and to all together."""
        everything = {"all": np.ones(len(self.uncertainty), dtype=bool)}
        named = np.array(self.conditions)
        each = {name: named == name for name in sorted(set(self.conditions))}
        return everything | {
            name: mine for name, mine in each.items() if MIN_CONDITION_FRAMES <= mine.sum() < len(named)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable values."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make scores from the values that ``to_dict`` returned.

        Raises:
            CheckpointError: keys are missing or unknown.
        """
        expected = {"uncertainty", "latent_distance", "conditions"}
        if set(values) != expected:
            raise CheckpointError(
                f"Scores of calibration frames have the keys {sorted(expected)}, received {sorted(values)}; "
                "calibrate again."
            )
        return cls(*(tuple(values[name]) for name in ("uncertainty", "latent_distance", "conditions")))


class ExchangeabilityTest:
    """The capital of a bet that scores exceed those of a reference; see the module's description.

    Args:
        reference: (n,) scores, at least one.

    Attributes:
        evidence: the capital; ever at least 1/α with probability α at most if all scores are exchangeable.
        used: number of scores so far.
        since: step of the score from which on the bets paid off most.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        descending = np.sort(np.asarray(reference, dtype=np.float64))[::-1]
        self._n = len(descending)
        self._ranks = np.unique([max(1, ceil(tail * self._n)) for tail in _TAILS])
        self._limits = descending[self._ranks - 1]
        self._above = np.zeros(len(self._ranks))
        self._capital = np.zeros((len(self._ranks), len(_STAKES)))
        self._best, self._begun = np.ones_like(self._capital), np.zeros_like(self._capital, dtype=np.int64)
        self.evidence, self.used, self.since = 1.0, 0, 0

    def add(self, score: float, step: int) -> None:
        """Bet on the next score; NaN counts as larger than any."""
        probability = (self._ranks + self._above) / (self._n + 1 + self.used)
        above = ~(score <= self._limits)
        stakes = np.array(_STAKES)[None, :]
        odds = ((1 - probability) / probability)[:, None]
        payoff = np.where(above[:, None], 1 + stakes * odds, 1 - stakes)
        self.used += 1
        self._above += above
        self._capital = (self._capital + 1 / (self.used * (self.used + 1))) * payoff
        self.evidence = float(self._capital.mean()) + 1 / (self.used + 1)
        restarted = self._best <= 1
        self._begun[restarted] = step
        self._best = np.where(restarted, 1.0, self._best) * payoff
        self.since = int(self._begun.flat[int(np.argmax(self._best))])


@dataclass(frozen=True)
class DriftReport:
    """State of the test.

    Attributes:
        false_alarm_probability: of an alarm, ever, while the frames are exchangeable with the calibration frames.
        checks: number of checks so far.
        used: number of those that were used as uncorrelated ones.
        stride: checks between two used ones; None while their correlation is not known, when nothing is decided.
        evidence: largest evidence so far, in units of the one that raises the alarm: 1 is an alarm.
        alarm_step: step of the check that raised the alarm; None without one.
        since_step: step from which on the frames differ, an estimate; None without an alarm.
        score: the score that raised the alarm; empty without one.
    """

    false_alarm_probability: float
    checks: int
    used: int
    stride: int | None
    evidence: float
    alarm_step: int | None = None
    since_step: int | None = None
    score: str = ""

    @property
    def outside(self) -> bool:
        """Whether the frames have left the calibrated conditions."""
        return self.alarm_step is not None


@dataclass(frozen=True)
class _Score:
    """One score of the frames, compared with each condition of the calibration frames."""

    name: str
    tests: list[ExchangeabilityTest]

    def add(self, value: float, step: int) -> None:
        for test in self.tests:
            test.add(value, step)

    @property
    def weakest(self) -> ExchangeabilityTest:
        """The test of the condition that the frames are most alike."""
        return min(self.tests, key=lambda test: test.evidence)


class DriftTest:
    """Follows the frames of a run. It is deterministic, knows no clock, and keeps its alarm.

    The frames may come from any one of the conditions of the calibration frames, or from all together: the evidence is
    the smallest over them. Largest latent distance and frame uncertainty are tested each at half the probability.

    Args:
        scores: of the calibration frames, at least one.
        false_alarm_probability: of an alarm, ever, while the frames are exchangeable with the calibration frames.
        uncertainty_spacing: least number of checks between two for which ``due`` asks for an uncertainty.
        stride: checks between two that are nearly uncorrelated, if it is known; by default from the frames.

    Raises:
        ValueError: the probability is not between 0 and 1.
    """

    def __init__(
        self,
        scores: CalibrationScores,
        *,
        false_alarm_probability: float = FALSE_ALARM_PROBABILITY,
        uncertainty_spacing: int = 1,
        stride: int | None = None,
    ) -> None:
        if not 0 < false_alarm_probability < 1:
            raise ValueError(f"false_alarm_probability must be between 0 and 1, received {false_alarm_probability}")
        self._alpha = false_alarm_probability
        groups = scores.groups.values()
        self._scores = [
            _Score(name, [ExchangeabilityTest(np.asarray(values)[mine].tolist()) for mine in groups])
            for name, values in (("latent distance", scores.latent_distance), ("uncertainty", scores.uncertainty))
        ]
        self._spacing = uncertainty_spacing
        self._waiting: list[_Frame] = []  # until the first stride is known
        self._series: list[list[float]] = [[]]  # latent distances, for the autocorrelation
        self._stride, self._is_given = stride, stride is not None
        self._next = self._next_uncertainty = 1
        self._checks = self._used = 0
        self._evidence = 1.0
        self._alarm: tuple[int, int, str] | None = None

    @property
    def due(self) -> bool:
        """Whether the uncertainty of the next check is wanted."""
        following = self._checks + 1
        return self._stride is not None and self._alarm is None and following >= max(self._next, self._next_uncertainty)

    @property
    def report(self) -> DriftReport:
        """The state so far."""
        alarm = self._alarm or (None, None, "")
        relative = self._evidence * self._alpha / len(self._scores)
        return DriftReport(self._alpha, self._checks, self._used, self._stride, relative, *alarm)

    def add(self, latent_distance: float, uncertainty: float | None, step: int | None = None) -> bool:
        """Take the next check of the run; return whether it raises the alarm, which happens once.

        Args:
            latent_distance: largest of the frame.
            uncertainty: of the frame, eV/Å, as the gate uses it; None where it was not computed. Whether it is computed
                must not depend on the frame.
            step: name of the check in the report; by default its number, counted from 1.
        """
        self._checks += 1
        self._learn(latent_distance)
        if self._alarm is not None:
            return False
        step = self._checks if step is None else step
        self._waiting.append(_Frame(self._checks, step, latent_distance, uncertainty))
        if self._stride is None:
            return False
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            if frame.check >= self._next and self._alarm is None:
                self._next = frame.check + self._stride
                self._use(frame, step)
        return self._alarm is not None

    def restart(self) -> None:
        """Begin another trajectory, which is not correlated with the last one."""
        self._series.append([])
        self._next = min(self._next, self._checks + 1)

    def _learn(self, latent_distance: float) -> None:
        """Estimate the stride again whenever the number of checks has doubled; it never shrinks."""
        if self._is_given or self._checks > LONGEST_HISTORY:
            return
        self._series[-1].append(latent_distance)
        if self._checks >= WARM_UP and self._checks & (self._checks - 1) == 0:
            found = decorrelated_every(self._series)
            self._stride = self._stride if found is None else max(self._stride or 1, found)

    def _use(self, frame: "_Frame", now: int) -> None:
        """Bet on a frame; an alarm is dated by the check at which it is raised, not by that of a frame that waited."""
        self._used += 1
        for score, value in zip(self._scores, (frame.latent_distance, frame.uncertainty), strict=True):
            if value is None:
                continue
            score.add(value, frame.step)
            weakest = score.weakest
            self._evidence = max(self._evidence, weakest.evidence)
            if self._alarm is None and weakest.evidence >= len(self._scores) / self._alpha:
                self._alarm = (now, weakest.since, score.name)
        if frame.uncertainty is not None:
            self._next_uncertainty = frame.check + self._spacing


@dataclass(frozen=True)
class _Frame:
    """A check of a run: its number, its name, and its scores."""

    check: int
    step: int
    latent_distance: float
    uncertainty: float | None


def decorrelated_every(series: Sequence[Sequence[float]]) -> int | None:
    """Return how many values of time series lie between two that are nearly uncorrelated; None while it is not known.

    It is ``_SPACING`` times the integrated autocorrelation time 1 + 2 Σ ρ, the median over blocks each with its own
    mean, so that a change of level, which would pass for a long correlation, spoils one block only. Blocks are made
    longer until they contain ``_SECURE`` of these times; while even the longest does not, nothing is known.

    Args:
        series: values at even intervals, one sequence for each trajectory.
    """
    length, longest = WARM_UP, max(map(len, series), default=0)
    while True:
        blocks = _blocks(series, length)
        if not blocks:
            return None
        found = float(np.median([_correlation_time(block) for block in blocks]))
        if found * _SECURE <= np.median([len(block) for block in blocks]):
            return ceil(_SPACING * found - 1e-9)
        length *= 2
        if length > longest:
            return None


def _blocks(series: Sequence[Sequence[float]], length: int) -> list[Array]:
    """Cut each series into blocks of this length; a series that is shorter is one block."""
    blocks = []
    for one in series:
        values = np.asarray(one, dtype=np.float64)
        values = values[np.isfinite(values)]
        count = max(1, len(values) // length)
        blocks += [block for block in np.array_split(values, count) if len(block) > 3]  # noqa: PLR2004
    return blocks


def _correlation_time(block: Array) -> float:
    """Return 1 + 2 Σ ρ up to the first lag that is not positive, corrected for the mean that was removed."""
    deviations = block - block.mean()
    variance = float(deviations @ deviations)
    if variance <= 0:
        return 1.0
    n, total = len(block), 0.0
    for lag in range(1, n):
        rho = float(deviations[lag:] @ deviations[:-lag]) / variance
        if rho <= 0:
            break
        total += rho
    time = 1 + 2 * total
    return time / max(1 - time / n, 0.25)
