"""How long, how large and how often: what bounds one label."""

from pydantic import Field

from dft_interfaces.settings.base import Settings


class RetrySettings(Settings):
    """A calculation that failed is tried again a bounded number of times, then put aside.

    What the engine could not converge is tried with the next strategy of its ladder at once; what died of its
    surroundings (a crash, memory, a full disk) is tried again as it was, after a pause that grows, unless the engine
    raises the same error twice.
    """

    tries: int = Field(4, ge=1, le=20)
    """Calculations of one frame, the first included."""
    delay_s: float = Field(5.0, ge=0, le=86_400)
    """Pause before the first retry after a crash, a day at most."""
    delay_factor: float = Field(4.0, ge=1, le=100)
    """By how much each further pause is longer."""


class LimitSettings(Settings):
    """What one calculation may use; beyond it the calculation is ended and counts as failed."""

    time_s: float = Field(6 * 3600.0, gt=0, le=366 * 86_400)
    """Wall time of one calculation, a year at most. Twice what your slowest label takes: hung programs are ended by
    it."""
    memory_GB: float | None = Field(None, gt=0, le=1e6)
    """Resident memory of a calculation with all programs it starts; no limit by default. Set it below what the
    machine has, divided by the workers: the operating system would end any process, not just the large one."""
