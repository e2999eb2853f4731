import pytest
from pydantic import ValidationError

from committee.settings import CommitteeSettings


def test_a_fade_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValidationError, match="fade_end must be above fade_onset 5"):
        CommitteeSettings(fade_onset=5, fade_end=4)


def test_one_member_is_no_committee():
    with pytest.raises(ValidationError, match="members"):
        CommitteeSettings(members=1)
