"""Which suspects are sent to DFT."""

from pydantic import Field

from committee.settings import Settings


class SelectSettings(Settings):
    """Which suspects are sent to DFT."""

    labels_per_round: int = Field(12, ge=1)
    """Budget of each round."""
    audit_fraction: float = Field(0.05, ge=0, le=1)
    """Share of the budget spent on frames drawn at random, which keeps the statistics honest."""
    unphysical_quota: int = Field(2, ge=0)
    """At most this many frames that are unphysical but computable."""
