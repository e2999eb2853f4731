"""Which frames are sent to DFT."""

import numpy as np
import pytest
from pydantic import ValidationError

from al_loop.config import SelectSettings
from al_loop.records import FrameSummary, GateCheck, VerdictKind
from al_loop.stages.select.selection import select

SUSPECT, TRUSTED, DISCARD = VerdictKind.SUSPECT, VerdictKind.TRUSTED, VerdictKind.DISCARD


def candidate(seed, kind=SUSPECT, check=GateCheck.FORCE_UNCERTAINTY, sigma=0.1, formula="H2O", at=None):
    point = np.random.default_rng(seed).normal(size=6) if at is None else np.asarray(at)
    return FrameSummary(f"{formula}-{seed}", formula, point.astype(np.float32), kind, check, sigma)


def known(frame):
    return FrameSummary(frame.frame_id, frame.formula, frame.descriptor)


def chosen(candidates, labelled=(), seed=0, **values):
    settings = SelectSettings(**{"labels_per_round": 6, "audit_fraction": 0.0, **values})
    return select(candidates, labelled, settings, np.random.default_rng(seed))


def test_the_budget_holds_and_no_frame_is_chosen_twice():
    picks = chosen([candidate(i % 9) for i in range(20)]).frame_ids
    assert len(picks) == len(set(picks)) == 6


def test_discarded_and_trusted_frames_are_left_alone():
    assert chosen([candidate(0, TRUSTED), candidate(1, DISCARD), candidate(2)]).frame_ids == ["H2O-2"]


def test_the_audit_reaches_trusted_frames_and_never_discarded_ones():
    candidates = [candidate(i, TRUSTED) for i in range(10)] + [candidate(i, DISCARD) for i in range(10, 200)]
    picks = chosen(candidates, audit_fraction=0.5)
    assert set(picks.reasons.values()) == {"audit"}
    assert len(picks.frame_ids) == 3
    assert set(picks.frame_ids) <= {f"H2O-{i}" for i in range(10)}


def test_the_audit_takes_its_share_over_many_rounds():
    candidates = [candidate(i, TRUSTED) for i in range(40)]
    drawn = sum(len(chosen(candidates, seed=s, labels_per_round=12, audit_fraction=0.05).frame_ids) for s in range(400))
    assert drawn / 400 == pytest.approx(0.6, abs=0.1)


def test_the_unphysical_have_a_quota():
    candidates = [candidate(i, check=GateCheck.PHYSICS) for i in range(5)] + [candidate(9)]
    picks = chosen(candidates, unphysical_quota=2)
    assert sorted(picks.reasons.values()) == ["farthest point", "unphysical", "unphysical"]


def test_the_unphysical_that_differ_most_are_taken():
    places = {0: 0.0, 1: 0.1, 2: 5.0, 3: 5.1}
    picks = chosen([candidate(i, check=GateCheck.PHYSICS, at=[x]) for i, x in places.items()], unphysical_quota=2)
    assert len({int(frame_id[-1]) // 2 for frame_id in picks.frame_ids}) == 2


def test_exact_duplicates_of_labelled_frames_are_not_asked_for_again():
    frame, new = candidate(0), candidate(1)
    assert chosen([frame, new], [known(frame)], audit_fraction=1.0).frame_ids == ["H2O-1"]


def test_near_duplicates_are_not_asked_for_although_there_is_budget():
    twin = candidate(4, at=candidate(0).descriptor + 1e-3)
    labelled = [known(candidate(0)), known(candidate(1))]
    assert chosen([twin, candidate(2)], labelled).frame_ids == ["H2O-2"]
    assert set(chosen([twin, candidate(2)], labelled, near_duplicate_distance=0.0).frame_ids) == {"H2O-4", "H2O-2"}


def test_near_duplicates_among_candidates_are_sent_once():
    twins = [candidate(i, at=[1.0, i * 1e-6]) for i in range(5)] + [candidate(9, at=[7.0, 3.0])]
    assert len(chosen(twins).frame_ids) == 2


def test_uncertainty_decides_between_equal_distances():
    candidates = [candidate(0, at=[1.0, 0.0]), candidate(1, at=[-1.0, 0.0], sigma=0.2)]
    labelled = [FrameSummary("k", "H2O", np.zeros(2, dtype=np.float32))]
    assert chosen(candidates, labelled, labels_per_round=1).frame_ids == ["H2O-1"]


def test_distance_decides_between_equal_uncertainties_and_alone_if_told_so():
    candidates = [candidate(0, at=[1.0, 0.0], sigma=1.0), candidate(1, at=[-2.0, 0.0])]
    labelled = [FrameSummary("k", "H2O", np.zeros(2, dtype=np.float32))]
    assert chosen(candidates, labelled, labels_per_round=1).frame_ids == ["H2O-0"]
    assert chosen(candidates, labelled, labels_per_round=1, uncertainty_power=0).frame_ids == ["H2O-1"]


def test_each_composition_keeps_to_itself():
    """Descriptors of different lengths are never compared, and compositions are independent of each other."""
    water, ammonia = candidate(0), candidate(0, formula="NH3", at=[1.0, 2.0])
    picks = chosen([water, candidate(1), ammonia], [known(water)], labels_per_round=1)
    assert picks.frame_ids == ["NH3-0"]


def test_the_uncertain_composition_gets_most_of_the_budget():
    candidates = [candidate(i, sigma=0.01) for i in range(20)]
    candidates += [candidate(i, formula="NH3", sigma=1.0) for i in range(20)]
    picks = chosen(candidates, labels_per_round=8).frame_ids
    assert sum(frame_id.startswith("NH3") for frame_id in picks) == 7


def test_frames_without_a_descriptor_are_left_to_the_audit():
    blank = FrameSummary("blank", "H2O", None, SUSPECT, GateCheck.PHYSICS)
    assert chosen([blank]).frame_ids == []
    assert chosen([blank], audit_fraction=1.0).frame_ids == ["blank"]


def test_the_choice_is_reproducible():
    candidates = [candidate(i) for i in range(12)]
    assert chosen(candidates, seed=4, audit_fraction=0.4) == chosen(candidates, seed=4, audit_fraction=0.4)


def test_the_first_round_draws_a_quarter_at_random():
    candidates = [candidate(i, check=GateCheck.UNCALIBRATED, sigma=None) for i in range(40)]
    reasons = list(chosen(candidates, labels_per_round=12).reasons.values())
    assert reasons == ["audit"] * 3 + ["representative"] * 9


def test_the_first_round_labels_what_stands_for_most_frames():
    """Ten frames about one place, three about another, one far from all: the far one comes last."""
    places = [0.0 + 0.03 * i for i in range(10)] + [4.0, 4.03, 4.06] + [-5.0]
    candidates = [candidate(i, check=GateCheck.UNCALIBRATED, sigma=None, at=[x]) for i, x in enumerate(places)]
    picks = [int(chosen_id[4:]) for chosen_id in chosen([*candidates], seed=3, labels_per_round=3).frame_ids]
    kinds = [0 if i < 10 else 1 if i < 13 else 2 for i in picks]
    assert sorted(kinds) == [0, 1, 2]
    two = [int(chosen_id[4:]) for chosen_id in chosen(candidates, [known(candidates[4])], labels_per_round=1).frame_ids]
    assert two[0] in {10, 11, 12}


def test_the_unphysical_of_the_first_round_are_those_that_differ_most():
    candidates = [
        candidate(i, check=GateCheck.PHYSICS, sigma=None, at=[float(x)]) for i, x in enumerate((0, 1, 1, 1, 9))
    ]
    picks = chosen(candidates, [known(candidates[0])], labels_per_round=1)
    assert picks.reasons == {"H2O-4": "unphysical"}


def test_uncertainties_guide_the_choice_before_the_gate_is_calibrated():
    candidates = [candidate(i, check=GateCheck.UNCALIBRATED) for i in range(40)]
    assert set(chosen(candidates, labels_per_round=12).reasons.values()) == {"farthest point"}


def test_nothing_to_choose_from():
    assert chosen([]).frame_ids == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels_per_round", 0),
        ("labels_per_round", 2.5),
        ("audit_fraction", 1.2),
        ("audit_fraction", float("nan")),
        ("unphysical_quota", -1),
        ("uncertainty_power", -1),
        ("near_duplicate_distance", -0.1),
    ],
)
def test_nonsense_is_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        SelectSettings(**{key: value})
