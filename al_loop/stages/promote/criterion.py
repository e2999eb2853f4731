"""One criterion that a candidate model must fulfil before it is served."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """Result of one criterion.

    Attributes:
        name: short name.
        passed: the candidate fulfils it.
        value: the measured number; None where there was nothing to measure.
        limit: largest allowed value; None where there is none.
        sentence: value and limit with their units and the data that they are based on.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str
