"""A campaign ends when its stop criteria are fulfilled, or when a budget is used up."""

import dataclasses

import pytest

from al_loop.config import Config, StopSettings
from al_loop.config.settings import LabelSettings
from al_loop.errors import GuardStop
from al_loop.records import TimeToSuspect, VerdictKind
from al_loop.report.round_json import as_dict, from_dict
from al_loop.stages.evaluate.stopping import stop_reason, time_to_suspect
from al_loop.stages.label.budget import require_held_out_budget, round_budget
from dft_interfaces.settings import TBLiteSettings

TRUSTED, SUSPECT = VerdictKind.TRUSTED, VerdictKind.SUSPECT
CONFIDENCE = 0.9
PROVEN = {"text": "proven", "proven": True}


@pytest.fixture
def round_of(reports):
    def make(round_=0, trusted=60, median_ps=1.0, hours=2.0, **changes):
        return dataclasses.replace(
            reports(round_),
            frames=100,
            verdicts={"trusted": trusted, "suspect": 100 - trusted},
            time_to_suspect=TimeToSuspect(median_ps, 4, 0),
            label_core_hours=hours,
            labels=12,
            labels_failed=1,
            labels_held_out=0,
            **changes,
        )

    return make


def reason(reports, **settings):
    return stop_reason(StopSettings(**settings), CONFIDENCE, reports)


def test_without_criteria_it_goes_on(round_of):
    assert reason([round_of(trusted=100)]) == ""


def test_the_fraction_of_trusted_frames_over_several_rounds(round_of):
    high, low = round_of(0, trusted=96), round_of(1, trusted=90)
    assert "96% of the explored frames are trusted in round 0" in reason([high], trusted_fraction=0.95)
    assert reason([low], trusted_fraction=0.95) == ""
    assert reason([high], trusted_fraction=0.95, over_rounds=2) == ""
    assert reason([high, low], trusted_fraction=0.95, over_rounds=2) == ""
    assert "in the last 2 rounds" in reason([low, high, high], trusted_fraction=0.95, over_rounds=2)


def test_the_time_to_the_first_suspect_frame(round_of):
    assert "at least 1 ps" in reason([round_of(median_ps=1.0)], time_to_suspect_ps=0.8)
    assert reason([round_of(median_ps=0.5)], time_to_suspect_ps=0.8) == ""
    assert reason([dataclasses.replace(round_of(), time_to_suspect=None)], time_to_suspect_ps=0.8) == ""


@pytest.mark.parametrize(
    ("guarantee", "coverage", "frames", "fulfilled"),
    [
        (PROVEN, 1.0, 16, True),
        (PROVEN, 0.875, 16, True),  # 14 of 16 may well come of 90 %
        (PROVEN, 0.5, 16, False),
        ({"text": "not proven", "proven": False}, 1.0, 16, False),
        (PROVEN, None, 0, False),
        ({**PROVEN, "by_condition": {"a/300K": {"calibration_frames": 40}}}, 1.0, 16, True),
        ({**PROVEN, "by_condition": {"a/300K": {"calibration_frames": 0}}}, 1.0, 16, False),
    ],
)
def test_the_guarantee_and_the_coverage(round_of, guarantee, coverage, frames, fulfilled):
    report = round_of(guarantee=guarantee, coverage=coverage, coverage_frames=frames)
    assert bool(reason([report], guarantee_proven=True)) is fulfilled


def test_what_says_that_the_model_is_good_must_hold_together(round_of):
    report = round_of(trusted=99, guarantee=PROVEN, coverage=0.4, coverage_frames=16)
    assert reason([report], trusted_fraction=0.9)
    assert reason([report], trusted_fraction=0.9, guarantee_proven=True) == ""


def test_a_budget_ends_the_campaign_by_itself(round_of):
    rounds = [round_of(0), round_of(1)]
    assert "stop.labels is used up: 26 of 26" in reason(rounds, labels=26, trusted_fraction=1.0)
    assert reason(rounds, labels=27) == ""
    assert "4 of 3.5 core hours" in reason(rounds, label_core_hours=3.5)
    assert "4 of 4.1 core hours, and a label costs 0.15" in reason(rounds, label_core_hours=4.1)
    assert reason(rounds, label_core_hours=4.5) == ""


def budget(requested=0, calculating=0, **stop):
    label = LabelSettings(engine=TBLiteSettings(engine="tblite"))
    config = Config.model_construct(stop=StopSettings(**stop), label=label)
    return round_budget(config, 1, 30, requested, [], calculating, estimate_h=0.5)


def test_core_hours_pay_for_whole_labels():
    assert [budget(calculating=count, label_core_hours=9.9) for count in (0, 10, 18)] == [19, 9, 1]
    with pytest.raises(GuardStop, match=r"stop.label_core_hours allows 9.9 core hours.*19 are being calculated"):
        budget(calculating=19, label_core_hours=9.9)


def test_held_out_frames_of_new_temperatures_are_paid_for_or_refused():
    require_held_out_budget(1, 8, lambda most: min(most, 9))
    with pytest.raises(GuardStop, match=r"need 8 held-out labels, and the budget \(stop\) pays for 5 more"):
        require_held_out_budget(1, 8, lambda most: min(most, 5))


def test_the_last_round_asks_only_for_what_is_left():
    assert budget(requested=500) == budget(requested=50, labels=100) == 30
    assert budget(requested=95, labels=100) == 5
    with pytest.raises(GuardStop, match=r"stop.labels allows 100 labels, and 100 were requested"):
        budget(requested=100, labels=100)


def test_time_to_suspect_is_the_median_over_trajectories():
    visits = [
        *(("a", step, TRUSTED if step < 40 else SUSPECT) for step in range(0, 100, 10)),
        *(("b", step, SUSPECT if step == 20 else TRUSTED) for step in range(0, 100, 10)),
        *(("c", step, TRUSTED) for step in range(0, 110, 10)),
    ]
    measured = time_to_suspect(visits, timestep_fs=2.0)
    assert measured == TimeToSuspect(median_ps=0.08, trajectories=3, never_suspect=1, at_least=False)
    assert str(measured) == "0.08 ps (median of 3 trajectories, 1 never suspect)"


def test_trajectories_that_were_never_suspect_are_a_lower_bound():
    visits = [*(("a", step, TRUSTED) for step in (0, 50)), ("b", 0, TRUSTED), ("b", 50, TRUSTED), ("c", 0, SUSPECT)]
    measured = time_to_suspect(visits, timestep_fs=1.0)
    assert measured.at_least
    assert str(measured) == "at least 0.05 ps (median of 3 trajectories, 2 never suspect)"
    assert time_to_suspect([], 1.0) is None


def test_a_report_keeps_what_it_was_judged_by(round_of):
    criterion = {"name": "guarantee", "passed": True, "value": None, "limit": 0.1, "sentence": "not enough labels yet"}
    report = round_of(criteria=[criterion])
    assert from_dict(as_dict(report)) == report
