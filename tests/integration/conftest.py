"""A small real campaign: copper, a distilled fairchem model underneath, EMT as the labelling code."""

from functools import partial

import pytest
from campaigns import make_campaign
from faults import outcome


@pytest.fixture
def small_campaign(tmp_path):
    """Return a maker of campaigns; keyword arguments replace blocks of the config."""
    return partial(make_campaign, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What a small campaign comes to when nothing happens to it."""
    campaign = make_campaign(tmp_path_factory.mktemp("undisturbed"))
    campaign.finish()
    found = outcome(campaign)
    assert len(found["trained"]) == 5
    assert len(found["held_out"]) == 14
    assert found["accepted"] == found["requests"]
    assert set(campaign.calculations().values()) == {1}
    return found
