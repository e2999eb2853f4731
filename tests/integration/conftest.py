"""A small real campaign: copper, SevenNet-0 underneath, EMT as the labelling code."""

from functools import partial

import pytest
from campaigns import make_campaign


@pytest.fixture
def small_campaign(tmp_path):
    """Return a maker of campaigns; keyword arguments replace blocks of the config."""
    return partial(make_campaign, tmp_path)
