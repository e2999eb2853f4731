"""Drift: whether the frames of a run still come from where the calibration frames came from, tested at every frame.

The null hypothesis is that the frames of the run and the calibration frames are exchangeable. The scores of n
calibration frames divide the line into n + 1 gaps. Under the hypothesis the gap of the next score is drawn from a Pólya
urn: after t frames it is a gap that holds m of their scores with probability (m + 1)/(n + 1 + t), whatever the
distribution of the scores. Let p and q be the urn's probabilities of a score above the upper and the lower end of the
gap that was drawn. A bet is a concave function G with G(0) = 0 and G(1) = 1, in place of p if the frames have left; it
multiplies a capital of 1 by (G(q) - G(p))/(q - p), which is 1 on average, more in the upper gaps and less in the lower
ones. The capital is therefore a martingale, for which P(ever ≥ 1/α) ≤ α (Ville). It is spread over several G, and over
the frame at which betting begins, weight 1/√j - 1/√(j + 1) for frame j, because nobody knows when a drift sets in, nor
how large it is.

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
WARM_UP = 128  # checks after which the autocorrelation is taken first
LONGEST_HISTORY = 4096  # frames that are kept; of a longer run every 2nd, 4th, ... is
MIN_CONDITION_FRAMES = 5  # a condition with fewer calibration frames counts only together with the others
_POWERS = np.array([1 / 2, 1 / 4, 1 / 8])  # G(p) = p^k: most in the uppermost gaps
_STEPS = np.array([(0.25, 0.5), (0.25, 0.9), (0.5, 0.5), (0.5, 0.9)])  # c, λ: alike in the upper gaps, a share c
_SPACING = 1.5  # between two used frames, in autocorrelation times by their upper limit
_SECURE = 5  # autocorrelation times that series must be long
_LIMIT = 1.0  # standard errors between the correlation of neighbours and its upper limit
_FEWEST_MEANS = 32  # of which a correlation is taken
_SHORTEST_LEVEL = 8  # values between which a change of level is looked for


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
        self._limits = np.sort(np.asarray(reference, dtype=np.float64))
        self._gaps = np.ones(len(self._limits) + 1)  # from the lowest scores to the highest
        self._capital = np.zeros_like(_bets(0.0))
        self._best, self._begun = np.ones_like(self._capital), np.zeros_like(self._capital, dtype=np.int64)
        self.evidence, self.used, self.since = 1.0, 0, 0

    def add(self, score: float, step: int) -> None:
        """Bet on the next score; NaN counts as larger than any."""
        gap = int(np.searchsorted(self._limits, score, side="left"))  # NaN is sorted behind all
        total = len(self._gaps) + self.used
        above = float(self._gaps[gap + 1 :].sum()) / total
        reached = above + float(self._gaps[gap]) / total
        payoff = (_bets(reached) - _bets(above)) / (reached - above)
        self.used += 1
        self._gaps[gap] += 1
        waiting = 1 / np.sqrt(self.used + 1)  # share of the capital that later bets begin with
        self._capital = (self._capital + 1 / np.sqrt(self.used) - waiting) * payoff
        self.evidence = float(self._capital.mean() + waiting)
        restarted = self._best <= 1
        self._begun[restarted] = step
        self._best = np.where(restarted, 1.0, self._best) * payoff
        self.since = int(self._begun[int(np.argmax(self._best))])


def _bets(probability: float) -> Array:
    """Return G of every bet at one probability; a step's slope is 1 + λ(1 - c)/c up to c and 1 - λ beyond."""
    share, stake = _STEPS.T
    steps = np.minimum(probability * (1 + stake * (1 - share) / share), 1 - (1 - probability) * (1 - stake))
    return np.concatenate([probability**_POWERS, steps])


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
class _Frame:
    """A check of a run: the trajectory it belongs to, its number, its name, and its scores (None: not computed)."""

    trajectory: int
    check: int
    step: int
    scores: tuple[float, float | None]


class _Score:
    """One score of the frames, compared with each condition of the calibration frames at uncorrelated frames."""

    def __init__(self, name: str, references: Sequence[Sequence[float]]) -> None:
        self.name = name
        self._tests = [ExchangeabilityTest(reference) for reference in references]
        self._last: tuple[int, int] | None = None  # trajectory and check that were used last
        self.evidence = 1.0

    def add(self, frame: _Frame, value: float, stride: int) -> bool:
        """Bet on a frame unless it is correlated with the last one; return whether it was used."""
        if self._last is not None:
            trajectory, check = self._last
            if frame.trajectory == trajectory and frame.check < check + stride:
                return False
        self._last = frame.trajectory, frame.check
        for test in self._tests:
            test.add(value, frame.step)
        self.evidence = max(self.evidence, self.weakest.evidence)
        return True

    @property
    def weakest(self) -> ExchangeabilityTest:
        """The test of the condition that the frames are most alike."""
        return min(self._tests, key=lambda test: test.evidence)


class DriftTest:
    """Follows the frames of a run. It is deterministic, knows no clock, and keeps its alarm.

    The frames may come from any one of the conditions of the calibration frames, or from all together: the evidence is
    the smallest over them. Largest latent distance and frame uncertainty are tested each at half the probability.
    Whenever the run shows another correlation than it did before, all evidence is taken again at the other stride.

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
        masks = scores.groups.values()
        self._references = {
            name: [np.asarray(values)[mine].tolist() for mine in masks]
            for name, values in (("latent distance", scores.latent_distance), ("uncertainty", scores.uncertainty))
        }
        self._scores = [_Score(*item) for item in self._references.items()]
        self._spacing = uncertainty_spacing
        self._stride, self._is_given = stride, stride is not None
        self._frames: list[_Frame] = []  # every _grain-th of the run, for the autocorrelation and to start anew
        self._grain, self._learn_at = 1, WARM_UP
        self._trajectory = self._checks = self._used = 0
        self._next_uncertainty = 1
        self._alarm: tuple[int, int, str] | None = None

    @property
    def due(self) -> bool:
        """Whether the uncertainty of the next check is wanted."""
        return self._stride is not None and self._alarm is None and self._checks + 1 >= self._next_uncertainty

    @property
    def report(self) -> DriftReport:
        """The state so far."""
        alarm = self._alarm or (None, None, "")
        evidence = max(score.evidence for score in self._scores) / self._threshold
        return DriftReport(self._alpha, self._checks, self._used, self._stride, evidence, *alarm)

    def add(self, latent_distance: float, uncertainty: float | None, step: int | None = None) -> bool:
        """Take the next check of the run; return whether it raises the alarm, which happens once.

        Args:
            latent_distance: largest of the frame.
            uncertainty: of the frame, eV/Å, as the gate uses it; None where it was not computed. Whether it is computed
                must not depend on the frame.
            step: name of the check in the report; by default its number, counted from 1.
        """
        self._checks += 1
        if self._alarm is not None:
            return False
        step = self._checks if step is None else step
        frame = _Frame(self._trajectory, self._checks, step, (latent_distance, uncertainty))
        self._keep(frame)
        if uncertainty is not None:
            self._next_uncertainty = self._checks + max(self._stride or 1, self._spacing)
        if not self._has_other_stride(step) and self._stride is not None:
            self._use(frame, self._stride, step)
        return self._alarm is not None

    def restart(self) -> None:
        """Begin another trajectory, which is not correlated with the last one."""
        self._trajectory += 1
        self._next_uncertainty = min(self._next_uncertainty, self._checks + 1)

    @property
    def _threshold(self) -> float:
        return len(self._scores) / self._alpha

    def _keep(self, frame: _Frame) -> None:
        if self._is_given or frame.check % self._grain:
            return
        self._frames.append(frame)
        if len(self._frames) > LONGEST_HISTORY:
            self._grain *= 2
            self._frames = [kept for kept in self._frames if kept.check % self._grain == 0]

    def _has_other_stride(self, step: int) -> bool:
        """Estimate the stride whenever the run is half as long again; if it differs, test all frames again.

        Every estimate is one more chance of a false alarm, so that a little shorter one is not taken.
        """
        if self._is_given or self._checks < self._learn_at:
            return False
        self._learn_at = self._checks + self._checks // 2
        series: dict[int, list[float]] = {}
        for frame in self._frames:
            series.setdefault(frame.trajectory, []).append(frame.scores[0])
        found = decorrelated_every(list(series.values()), _SECURE if self._stride is None else 0)
        if found is None:
            return False
        found *= self._grain
        if self._stride is not None and self._stride / 2 < found <= self._stride:
            return False
        self._stride = found
        self._scores = [_Score(*item) for item in self._references.items()]
        self._used = 0
        for frame in self._frames:
            self._use(frame, found, step)
        return True

    def _use(self, frame: _Frame, stride: int, now: int) -> None:
        """Bet on a frame; an alarm is dated by the check at which it is raised, not by that of an earlier frame."""
        for number, (score, value) in enumerate(zip(self._scores, frame.scores, strict=True)):
            if value is None or self._alarm is not None or not score.add(frame, value, stride):
                continue
            self._used += number == 0
            if score.weakest.evidence >= self._threshold:
                self._alarm = (now, score.weakest.since, score.name)


def decorrelated_every(series: Sequence[Sequence[float]], secure: float = _SECURE) -> int | None:
    """Return how many values of time series lie between two that are nearly uncorrelated; None while it is not known.

    It is ``_SPACING`` times the integrated autocorrelation time: the largest that the means of 1, 2, 4, ... successive
    values show, since a slow motion may hide under a fast one. A single series may change its level once, which would
    pass for a long correlation: its best step is taken out. Of several series each has its own mean. Nothing is known
    while they are too short for the time that they show.

    Args:
        series: values at even intervals, one sequence for each trajectory.
        secure: autocorrelation times that they must be long.
    """
    finite = [np.asarray(one, dtype=np.float64)[np.isfinite(one)] for one in series]
    finite = [one for one in finite if len(one) > 1]
    if not finite:
        return None
    levels = 2 if len(finite) == 1 else 1
    deviations = [_without_step(one) if levels > 1 else one - one.mean() for one in finite]
    time, size = 0.0, 1
    while (length := float(np.mean([len(one) // size for one in deviations]))) >= _FEWEST_MEANS:
        time = max(time, _correlation_time(deviations, size, levels / length))
        size *= 2
    if time == 0 or not np.isfinite(time) or time * secure > np.mean([len(one) for one in deviations]):
        return None
    return ceil(_SPACING * time - 1e-9)


def _correlation_time(deviations: Sequence[Array], size: int, bias: float) -> float:
    """Return 1 + 2 Σ ρ of time series by the means of ``size`` successive values, as if these were autoregressive.

    Their correlation is taken at its upper limit, and corrected for the means that were taken out of the series, which
    make it too small by ``bias`` (1 + 3 ρ).
    """
    means = [one[: len(one) // size * size].reshape(-1, size).mean(axis=1) for one in deviations]
    count, of_means = sum(map(len, means)), float(sum(one @ one for one in means))
    variance = float(sum(one @ one for one in deviations)) / sum(map(len, deviations))
    if of_means <= 0 or variance <= 0:
        return 1.0
    neighbours = float(sum(one[1:] @ one[:-1] for one in means)) / of_means
    neighbours += bias * (1 + 3 * neighbours)
    neighbours += _LIMIT * np.sqrt(max(1 - neighbours**2, 0) / count)
    if neighbours >= 1:
        return np.inf
    return float(size * of_means / count / variance * (1 + neighbours) / (1 - neighbours))


def _without_step(values: Array) -> Array:
    """Subtract the two means between which a series changes its level, where that leaves the smallest variance."""
    before = np.arange(_SHORTEST_LEVEL, len(values) - _SHORTEST_LEVEL + 1)
    if len(before) == 0:
        return np.asarray(values - values.mean())
    sums, after = np.cumsum(values), len(values) - before
    difference = sums[before - 1] / before - (sums[-1] - sums[before - 1]) / after
    end = int(before[np.argmax(difference**2 * before * after)])
    return np.concatenate([part - part.mean() for part in (values[:end], values[end:])])
