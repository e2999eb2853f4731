"""The ``stop`` block: when a campaign ends before its last round."""

from pydantic import Field

from committee.settings import Settings


class StopSettings(Settings):
    """When the campaign ends before its last round; without this block it runs all ``rounds``.

    The quality criteria given here must all hold; each budget ends the campaign by itself.
    """

    trusted_fraction: float | None = Field(None, gt=0, le=1)
    """At least this share of the explored frames is trusted, in each of the last ``over_rounds`` rounds."""
    time_to_suspect_ps: float | None = Field(None, gt=0)
    """The median time until a trajectory's first untrusted frame is at least this long, in the same rounds."""
    over_rounds: int = Field(1, ge=1, le=10_000)
    """Number of last rounds in which trusted_fraction and time_to_suspect_ps must hold."""
    promise_proven: bool = False
    """The error guarantee (tolerance at the confidence) is proven on the calibration frames, and the coverage of the
    test frames does not contradict it."""
    labels: int | None = Field(None, ge=1)
    """Budget of DFT labels in total, held-out frames and failed calculations included; never exceeded."""
    label_core_hours: float | None = Field(None, gt=0)
    """Budget of core hours of all calculations. The number of labels of a round follows from the mean cost so far, so
    that the budget is exceeded by no more than costs scatter. The first round waits for the first label; the engine's
    estimate is used only if no label is being calculated."""
