"""Which suspects are sent to DFT."""

from pydantic import Field

from committee.settings import Settings


class SelectSettings(Settings):
    """Which suspects are sent to DFT."""

    labels_per_round: int = Field(12, ge=1, le=100_000)
    """Budget of each round; a fit holds the derivatives of all labels in memory."""
    audit_fraction: float = Field(0.05, ge=0, le=1)
    """Share of the budget spent on frames drawn at random, which keeps the statistics honest."""
    unphysical_quota: int = Field(2, ge=0, le=100_000)
    """At most this many frames that are unphysical but computable."""
    uncertainty_power: float = Field(1.0, ge=0, le=4)
    """A frame's distance to what is known is multiplied by its uncertainty to this power. 0 ignores the uncertainty."""
    near_duplicate_distance: float = Field(0.02, ge=0, lt=1)
    """A frame closer than this to a labelled or chosen one is not sent; 1 is the typical distance of two frames of its
    composition. What is left of the budget then is not spent."""
