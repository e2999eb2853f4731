"""Settings of ranking and barriers, checked before anything is computed."""

from dataclasses import dataclass
from typing import Literal

from al_loop.errors import InputError

Optimizer = Literal["fire", "lbfgs"]


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name}: received {value}, expected at least {least}")


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise InputError(f"{name}: received {value:g}, expected a number above 0")


def _confidence(value: float) -> None:
    if not 0.5 < value < 1:  # noqa: PLR2004 - one-sided: half is a coin
        raise InputError(f"--confidence: received {value:g}, expected a share above 0.5 and below 1, such as 0.9")


@dataclass(frozen=True)
class RelaxOptions:
    """How structures are relaxed with the committee.

    Attributes:
        force_tolerance_eV_per_A: largest force that is left.
        steps: at most.
        cell: relax the cell as well; structures periodic in three directions only.
        optimizer: ``fire`` survives rough starts, ``lbfgs`` needs fewer steps near a minimum.
    """

    force_tolerance_eV_per_A: float = 0.03
    steps: int = 300
    cell: bool = False
    optimizer: Optimizer = "fire"

    def __post_init__(self) -> None:
        _positive("the force tolerance (--fmax)", self.force_tolerance_eV_per_A)
        _at_least("--steps", self.steps, 1)


@dataclass(frozen=True)
class RankOptions:
    """How candidates are ranked.

    Attributes:
        top: N, how many of each composition are wanted.
        confidence: one-sided, with which a candidate must lie above another to count as worse.
        resolution_eV: standard deviation of a difference besides the committee's: rounding, what relaxation left.
        relax: how to relax first, None to rank the structures as they are.
        same_A: structures whose sorted distances agree within this are one.
        seed: of the draws that the probabilities are counted on and labelled frames are resampled with.
    """

    top: int = 3
    confidence: float = 0.9
    resolution_eV: float = 0.001
    relax: RelaxOptions | None = None
    same_A: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("--top", self.top, 1)
        _confidence(self.confidence)
        _positive("the resolution, eV,", self.resolution_eV)
        _positive("the distance within which structures are one, Å,", self.same_A)


@dataclass(frozen=True)
class BarrierOptions:
    """How a barrier is searched.

    Attributes:
        images: between the two ends.
        confidence: one-sided, of the interval that is stated.
        force_tolerance_eV_per_A: largest force of the band that is left on any atom.
        steps: at most, of the whole search.
        spring_eV_per_A2: between images.
        relax: how to relax the ends first, None if they are minima already.
        seed: of the draws that labelled frames are resampled with.
    """

    images: int = 7
    confidence: float = 0.9
    force_tolerance_eV_per_A: float = 0.05
    steps: int = 300
    spring_eV_per_A2: float = 0.1
    relax: RelaxOptions | None = RelaxOptions()
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("--images", self.images, 1)
        _at_least("--steps", self.steps, 1)
        _confidence(self.confidence)
        _positive("the force tolerance (--fmax)", self.force_tolerance_eV_per_A)
        _positive("the spring constant, eV/Å²,", self.spring_eV_per_A2)
        if self.relax is not None and self.relax.cell:
            raise InputError("the ends of a path are relaxed in a fixed cell; leave the cell out")
