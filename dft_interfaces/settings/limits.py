"""Limits of time, memory and retries of one label."""

from pydantic import Field

from dft_interfaces.settings.base import Settings


class RetrySettings(Settings):
    """A failed calculation is tried again a limited number of times, then the frame is quarantined.

    An unconverged calculation is tried at once with the next retry strategy of the engine's ``ladder``. One that failed
    because of its environment (a crash, memory, a full disk) is tried again unchanged, after a growing pause, unless
    the engine raises the same error twice.
    """

    tries: int = Field(4, ge=1, le=20)
    """Calculations of one frame, the first included."""
    delay_s: float = Field(5.0, ge=0, le=86_400)
    """Pause before the first retry after a crash, a day at most."""
    delay_factor: float = Field(4.0, ge=1, le=100)
    """Factor by which each further pause is longer."""


class LimitSettings(Settings):
    """Limits of one calculation; one that exceeds them is ended and counts as failed."""

    time_s: float = Field(6 * 3600.0, gt=0, le=366 * 86_400)
    """Wall time of one calculation, a year at most. Set it to twice the time of your slowest label, since only this
    limit ends programs that hang."""
    memory_GB: float | None = Field(None, gt=0, le=1e6)
    """Resident memory of a calculation with all programs it starts; no limit by default. Set it below the machine's
    memory divided by the number of workers: the operating system would end any process, not only the large one."""
