import pytest
from pydantic import ValidationError

from committee.settings import CommitteeSettings


def test_a_fade_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValidationError, match="switch_end must be above switch_start 5"):
        CommitteeSettings(switch_start=5, switch_end=4)


def test_one_member_is_no_committee():
    with pytest.raises(ValidationError, match="members"):
        CommitteeSettings(members=1)
