"""Whether a round adapts the foundation's own weights, and which of two candidates it keeps: decisions on numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from al_loop.config.settings import AdaptMode, GateSettings
from committee.training.validation import split_by_group

Array = NDArray[np.float64]

FLAT_RATIO = 1.3
"""Largest force MAE of heads on half of the labels, in units of that on all, at which the learning curve counts as
flat: halving the error then takes more than six times as many labels. Where features are not the limit, the ratio is
about 1.4. For NaCl at three temperatures, where they are, single halves of 48 labels gave 0.94 to 1.27. A curve that is
wrongly called flat costs the time of an adaptation, one that is wrongly called steep costs labels."""
MIN_LABELS = 16
"""Labels below which there is no learning curve: the error of fewer than 8 depends on which ones were drawn."""
KEPT_RATIO = 0.95
"""Largest force MAE of heads on the adapted foundation, in units of that of heads alone, at which it is kept: a smaller
gain is within the scatter of some dozens of held-back frames, and costs new tangents for every label."""
REPEATED_AT = 1.5
"""Labels, in units of those at the last attempt, from which the foundation is adapted anew. On an adapted foundation
the learning curve of heads does not tell, since the features have seen the labels of both halves; and what an attempt
gave, it gives again with a few labels more."""
_MIN_TRAJECTORIES = 4  # with fewer, half of the trajectories is far from half of the labels


@dataclass(frozen=True)
class HeldBackErrors:
    """Force errors of a candidate on calibration frames.

    Attributes:
        force_mae_eV_per_A: mean absolute error of the force components.
        within_tolerance: share of the frames whose largest force error on an atom is within the gate's tolerance.
        frames: number of frames.
    """

    force_mae_eV_per_A: float
    within_tolerance: float
    frames: int

    @classmethod
    def of(cls, differences: Sequence[Array], tolerance_eV_per_A: float) -> Self:
        """Evaluate differences (n, 3) of predicted and labelled forces, frame by frame, eV/Å."""
        largest = np.array([np.linalg.norm(difference, axis=1).max() for difference in differences])
        return cls(
            float(np.abs(np.concatenate(list(differences))).mean()),
            float((largest <= tolerance_eV_per_A).mean()),
            len(largest),
        )

    def share(self, gate: GateSettings) -> str:
        """Return the share within the tolerance in words."""
        return (
            f"{self.within_tolerance:.0%} of {self.frames} calibration frames are within "
            f"{gate.force_tolerance_eV_per_A:g} eV/Å"
        )


@dataclass(frozen=True)
class AdaptationRecord:
    """Result of the decision of one round, as the stage records it.

    Attributes:
        mode: ``train.adapt`` of the round.
        foundation: name of the foundation under the candidate's heads.
        tried: the foundation was adapted in this round, or an attempt failed.
        kept: the candidate stands on the foundation that was adapted in this round.
        sentence: what was decided, and why.
        frames: number of calibration frames behind the errors.
        within_tolerance: share of them within the tolerance under heads alone; None if that was not measured.
        force_mae_heads: eV/Å of heads on the foundation of the served model; None if that was not measured.
        force_mae_half: eV/Å of the same heads fitted to half of the labels, a mean over both halves; None if that was
            not measured.
        force_mae_adapted: eV/Å of heads on the adapted foundation; None if that was not measured.
        attempted_labels: number of labels at the last attempt to adapt the foundation; 0 if there was none.
    """

    mode: AdaptMode
    foundation: str
    tried: bool
    kept: bool
    sentence: str
    frames: int = 0
    within_tolerance: float | None = None
    force_mae_heads: float | None = None
    force_mae_half: float | None = None
    force_mae_adapted: float | None = None
    attempted_labels: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; an error that is not finite is None."""
        return {name: _finite(value) for name, value in asdict(self).items()}


def may_escalate(heads: HeldBackErrors | None, labels: int, attempted_labels: int, gate: GateSettings) -> str:
    """Return why heads alone are enough or cannot be judged; empty if the foundation may have to be adapted.

    The error stands above the tolerance if fewer calibration frames than the share ``confidence`` have their largest
    force error within it: the gate could then not trust all frames.
    """
    if heads is None:
        return "there are no calibration frames to judge candidates by"
    if heads.within_tolerance >= gate.confidence:
        return f"{heads.share(gate)} under heads alone (at least {gate.confidence:.0%} needed)"
    if labels < MIN_LABELS:
        return f"{labels} labels are too few for a learning curve (at least {MIN_LABELS} needed)"
    if labels < REPEATED_AT * attempted_labels:
        needed = ceil(REPEATED_AT * attempted_labels)
        return f"the last attempt had {attempted_labels} of the {labels} labels (the next one has at least {needed})"
    return ""


def is_flat(half_mae: float, full_mae: float) -> bool:
    """Whether the learning curve of heads is flat, from the force MAE on half and on all of the labels."""
    return isfinite(half_mae) and isfinite(full_mae) and half_mae <= FLAT_RATIO * full_mae


def keeps_adapted(heads_mae: float, adapted_mae: float) -> bool:
    """Whether heads on the adapted foundation are kept; ``heads_mae`` is that of heads alone."""
    return isfinite(adapted_mae) and not adapted_mae > KEPT_RATIO * heads_mae


def halves_of(groups: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Return the indices of two random halves of the labels, by whole trajectories if there are several.

    Args:
        groups: trajectory of each label.
        seed: random seed.
    """
    by_trajectory = len(set(groups)) >= _MIN_TRAJECTORIES
    names = list(groups) if by_trajectory else [f"{index:09d}" for index in range(len(groups))]
    return split_by_group(names, 0.5, seed)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
