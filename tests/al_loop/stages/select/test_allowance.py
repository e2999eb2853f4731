"""Shares of a round's budget: their sum is the budget, and the next share includes what earlier ones left."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from al_loop.config import SelectSettings
from al_loop.records import FrameSummary, GateCheck, VerdictKind
from al_loop.stages.batches import FinishedBatches, batch_count, batch_starts, stage_name, stage_of
from al_loop.stages.select.selection import SelectionBudget, select


@pytest.mark.parametrize("budget", [0, 1, 2, 7, 12, 100])
@pytest.mark.parametrize("batches", [1, 2, 3, 4])
@pytest.mark.parametrize("audit_fraction", [0.0, 0.05, 1.0])
def test_batches_spend_the_budget_and_no_more(budget, batches, audit_fraction):
    settings = SelectSettings(labels_per_round=max(budget, 1), audit_fraction=audit_fraction, unphysical_quota=3)
    rng = np.random.default_rng(4)
    explored, taken, spent = [], [], Counter()
    for batch in range(batches):
        new = [candidate(f"{batch}-{i}", rng, unphysical=i % 2 == 0) for i in range(2 * budget + 4)]
        explored += new
        allowed = SelectionBudget.of(settings, budget, spent, batch, batches, {c.frame_id for c in new})
        known = [c for c in explored if c.frame_id in set(taken)]
        chosen = select(explored, known, settings, rng, allowed)
        assert not set(taken) & set(chosen.frame_ids)
        audited = {frame for frame, reason in chosen.reasons.items() if reason == "audit"}
        assert audited <= {c.frame_id for c in new}
        taken += chosen.frame_ids
        spent.update(chosen.reasons.values())
        assert len(taken) <= budget * (batch + 1) // batches
    assert len(taken) == budget
    assert spent["unphysical"] <= 3


def test_what_a_batch_leaves_the_next_may_spend():
    settings = SelectSettings(labels_per_round=12, unphysical_quota=2)
    assert SelectionBudget.of(settings, 12, {}, 0, 3) == SelectionBudget(4, 0, 4.0)
    assert SelectionBudget.of(settings, 12, {"audit": 1}, 1, 3) == SelectionBudget(7, 1, 4.0)
    assert SelectionBudget.of(
        settings, 12, {"audit": 1, "unphysical": 1, "farthest point": 6}, 2, 3
    ) == SelectionBudget(4, 1, 4.0)


@pytest.mark.parametrize(
    ("replicas", "temperatures", "labels", "batches", "expected"),
    [(2, 1, 5, None, 1), (2, 2, 12, None, 2), (8, 2, 12, None, 3), (50, 3, 400, None, 4), (3, 1, 12, 9, 3)],
)
def test_every_batch_has_trajectories_and_labels_enough(replicas, temperatures, labels, batches, expected):
    assert batch_count(config(replicas, temperatures, labels, batches)) == expected


def test_every_start_is_in_one_batch_and_replicas_are_spread():
    settings = config(4, 3, 12, 2)
    starts = [f"{temperature}/{replica}" for temperature in range(3) for replica in range(4)]
    parts = [batch_starts(settings, starts, 1, batch) for batch in range(2)]
    assert sorted(parts[0] + parts[1]) == starts
    for part in parts:
        assert Counter(name[0] for name in part) == {"0": 2, "1": 2, "2": 2}
    assert parts == [batch_starts(settings, starts, 1, batch) for batch in range(2)]


def test_stages_of_batches_have_names():
    assert [stage_name("explore", batch) for batch in range(3)] == ["explore", "explore-2", "explore-3"]
    assert {stage_of(name) for name in ("explore", "explore-2")} == {"explore"}
    assert stage_of("hold_out") == "hold_out"


def test_what_finished_batches_have_noted():
    stages = {
        "hold_out": {"frames": 9},
        "explore": {"frames": 10, "asked_before": ["a"]},
        "select": {"selected": 2, "reasons": {"audit": 1, "unphysical": 1}, "frames": ["b", "c"], "budget": 6},
        "explore-2": {"frames": 12},
        "select-2": {"selected": 1, "reasons": {"audit": 1}, "frames": ["d"], "budget": 6},
    }
    whole = FinishedBatches(stages)
    assert (whole.explored, whole.selected, whole.budget) == (22, 3, 6)
    assert whole.spent == {"audit": 2, "unphysical": 1}
    assert whole.requested == ["a", "b", "c", "d"]
    first = FinishedBatches(stages, before=1)
    assert (first.explored, first.selected, first.requested) == (10, 2, ["a", "b", "c"])
    nothing = FinishedBatches(stages, before=0)
    assert (nothing.explored, nothing.selected, nothing.budget, nothing.requested) == (0, 0, None, ["a"])


def candidate(frame_id, rng, *, unphysical):
    check = GateCheck.PHYSICS if unphysical else GateCheck.FORCE_UNCERTAINTY
    return FrameSummary(frame_id, "Cu4", rng.normal(size=8).astype(np.float32), VerdictKind.SUSPECT, check, 0.3)


def config(replicas, temperatures, labels, batches):
    system = SimpleNamespace(variants=((),), strains=(0.0,), ensemble=None, ordered=None, frames=None)
    explore = SimpleNamespace(
        replicas=replicas, temperatures_K=(300.0,) * temperatures, batches=batches, ensemble="langevin"
    )
    return SimpleNamespace(seed=1, explore=explore, select=SimpleNamespace(labels_per_round=labels), systems=(system,))
