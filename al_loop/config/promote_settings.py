"""When a candidate model is served."""

from pydantic import Field

from committee.settings import Settings


class PromoteSettings(Settings):
    """When a candidate model replaces the served one."""

    max_error_ratio: float = Field(1.0, gt=0)
    """Force error of the candidate on the calibration frames, in units of the served model's."""
