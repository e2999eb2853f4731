"""When heads are not enough, and which of two candidates is kept: on plain numbers."""

import json

import numpy as np
import pytest

from al_loop.config import GateSettings
from al_loop.stages.train.adaptation import (
    FLAT_RATIO,
    KEPT_RATIO,
    MIN_LABELS,
    AdaptationRecord,
    HeldBackErrors,
    halves_of,
    is_flat,
    keeps_adapted,
    may_escalate,
)

GATE = GateSettings(force_tolerance_eV_per_A=0.1, confidence=0.9)


def errors(within: float) -> HeldBackErrors:
    return HeldBackErrors(0.05, within, 20)


def test_the_error_of_a_frame_is_its_largest_on_an_atom() -> None:
    quiet, loud = np.full((4, 3), 0.05), np.full((4, 3), 0.05)
    loud[2] = (0.06, 0.06, 0.06)  # 0.104 in all, each component below the tolerance
    found = HeldBackErrors.of([quiet, loud, -quiet], 0.1)
    assert found.force_mae_eV_per_A == pytest.approx((33 * 0.05 + 3 * 0.06) / 36)
    assert found.within_tolerance == pytest.approx(2 / 3)
    assert found.frames == 3
    assert HeldBackErrors.of([quiet, np.full((4, 3), np.nan)], 0.1).within_tolerance == 0.5


@pytest.mark.parametrize(
    ("held_back", "labels", "last", "why"),
    [
        (None, 100, 0, "no calibration frames"),
        (errors(0.9), 100, 0, "90% of 20 calibration frames are within 0.1 eV/Å"),
        (errors(0.5), MIN_LABELS - 1, 0, f"{MIN_LABELS - 1} labels are too few"),
        (errors(0.5), 32, 22, "the last attempt had 22 of the 32 labels (the next one has at least 33)"),
        (errors(0.5), 33, 22, ""),
        (errors(0.89), MIN_LABELS, 0, ""),
    ],
)
def test_heads_are_enough_or_cannot_be_judged(
    held_back: HeldBackErrors | None, labels: int, last: int, why: str
) -> None:
    found = may_escalate(held_back, labels, last, GATE)
    assert why in found
    assert bool(found) == bool(why)


def test_a_flat_learning_curve() -> None:
    assert is_flat(0.1 * FLAT_RATIO - 1e-9, 0.1)
    assert not is_flat(0.1 * FLAT_RATIO + 1e-9, 0.1)
    assert is_flat(0.09, 0.1)  # more labels made it worse
    assert not is_flat(float("nan"), 0.1)
    assert not is_flat(0.1, float("inf"))


def test_the_adapted_foundation_must_win_by_a_margin() -> None:
    assert keeps_adapted(0.1, 0.1 * KEPT_RATIO)
    assert not keeps_adapted(0.1, 0.1 * KEPT_RATIO + 1e-9)
    assert not keeps_adapted(0.1, float("nan"))
    assert keeps_adapted(float("inf"), 0.1)


def test_half_of_the_labels_are_whole_trajectories() -> None:
    groups = [f"0/{number}" for number in range(8) for _ in range(3)]
    one, other = halves_of(groups, seed=1)
    assert sorted([*one, *other]) == list(range(24))
    assert len(one) == 12
    assert not {groups[i] for i in one} & {groups[i] for i in other}
    assert (one, other) == halves_of(groups, seed=1) != halves_of(groups, seed=2)
    assert [len(half) for half in halves_of(["0/a"] * 10, seed=1)] == [5, 5]


def test_the_record_is_plain_json() -> None:
    record = AdaptationRecord("auto", "7net-0", tried=True, kept=False, sentence="", force_mae_adapted=float("nan"))
    plain = json.loads(json.dumps(record.as_dict(), allow_nan=False))
    assert plain["force_mae_adapted"] is None
    assert AdaptationRecord(**plain).mode == "auto"
