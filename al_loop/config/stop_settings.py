"""When a campaign ends before its last round."""

from pydantic import Field

from committee.settings import Settings


class StopSettings(Settings):
    """When the campaign ends early; ``rounds`` stays the upper bound, and without this block it is the only one.

    What says that the model is good enough must hold together; a budget ends the campaign by itself.
    """

    trusted_fraction: float | None = Field(None, gt=0, le=1)
    """At least this share of the explored frames is trusted, in each of the last ``over_rounds`` rounds."""
    time_to_suspect_ps: float | None = Field(None, gt=0)
    """The median trajectory runs at least so long until its first frame that is not trusted, in the same rounds."""
    over_rounds: int = Field(1, ge=1, le=10_000)
    """Rounds over which both must hold."""
    promise_proven: bool = False
    """The promise is proven on the calibration frames, and the coverage of the test frames does not contradict it."""
    labels: int | None = Field(None, ge=1)
    """Budget: DFT labels in all, held-out ones and failed calculations included. Fewer are asked for in the last
    round, so that it is not exceeded."""
    label_core_hours: float | None = Field(None, gt=0)
    """Budget: core hours of all calculations. A round asks for as many labels as it pays for at the mean cost of the
    labels so far, so that it is exceeded by no more than costs scatter. The first round waits for the first label;
    only where none is being calculated the engine's estimate counts."""
