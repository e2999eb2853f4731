"""A small real campaign: copper, a distilled fairchem model underneath, EMT as the labelling code."""

import pickle
from functools import partial

import pytest
from campaigns import make_campaign
from faults import outcome


@pytest.fixture
def small_campaign(tmp_path):
    """Return a maker of campaigns; keyword arguments replace blocks of the config."""
    return partial(make_campaign, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(once_per_session):
    """What a small campaign comes to when nothing happens to it."""
    return pickle.loads((once_per_session("undisturbed", _run_undisturbed) / "outcome.pickle").read_bytes())


def _run_undisturbed(folder):
    campaign = make_campaign(folder)
    campaign.finish()
    found = outcome(campaign)
    assert len(found["trained"]) == 5
    assert len(found["held_out"]) == 14
    assert found["accepted"] == found["requests"]
    assert set(campaign.calculations().values()) == {1}
    (folder / "outcome.pickle").write_bytes(pickle.dumps(found))
