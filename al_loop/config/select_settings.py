"""The ``select`` block: which suspect frames are sent to DFT."""

from pydantic import Field

from committee.settings import Settings


class SelectSettings(Settings):
    """Which suspect frames are sent to DFT."""

    labels_per_round: int = Field(12, ge=1, le=100_000)
    """Largest number of labels per round; training holds the derivatives of all labels in memory."""
    audit_fraction: float = Field(0.05, ge=0, le=1)
    """Share of the labels for frames drawn at random, which keeps error statistics unbiased."""
    unphysical_quota: int = Field(2, ge=0, le=100_000)
    """Largest number of frames per round that are unphysical but computable."""
    uncertainty_power: float = Field(1.0, ge=0, le=4)
    """A frame's distance to labelled frames is multiplied by its uncertainty to this power; 0 ignores uncertainty."""
    near_duplicate_distance: float = Field(0.02, ge=0, lt=1)
    """Frames closer than this to a labelled or selected frame are not sent; 1 is the typical distance of two frames of
    that composition. The rest of the budget is then not spent."""
