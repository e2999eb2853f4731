"""One thing that a candidate model must fulfil before it is served."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """The verdict on one criterion, with its number also where it passes.

    Attributes:
        name: what it is about, in a few words.
        passed: the candidate fulfils it.
        value: the number that was measured; None where there was nothing to measure.
        limit: what it was held against; None where there is none.
        sentence: number and limit in words, with units and what they rest on.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str
