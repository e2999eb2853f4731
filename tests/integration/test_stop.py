"""A campaign that has reached what was asked for ends before its last round, and ends there again."""

import json

import pytest

from al_loop import load_config
from al_loop.ledger import open_ledger
from al_loop.stages.evaluate.stopping import STOPPED


def test_the_label_budget_ends_the_campaign(small_campaign):
    """14 labels are held out: 5 of the first round and 2 more are left."""
    campaign = small_campaign(rounds=5, stop={"labels": 21})
    sentence = "the budget of stop.labels is used up: 21 of 21"
    for _ in range(2):
        result = campaign.call("run", campaign.config)
        assert result.returncode == 0, result.stderr
        assert f"Stopped early: {sentence}" in result.stdout
    assert len(campaign.calculations()) == 21

    status = campaign.status()
    assert status["state"] == "finished"
    assert status["stopped_early"] == sentence
    labels = [r["labels"] for r in status["rounds"]]
    assert labels[0] == 5
    assert sum(labels) == 7
    assert len(labels) < 5
    assert [r["label_core_hours"] > 0 for r in status["rounds"]] == [n > 0 for n in labels]
    assert status["rounds"][0]["time_to_suspect"]["trajectories"] == 2
    assert sentence in (campaign.folder / "report.html").read_text()
    log = [json.loads(line) for line in (campaign.folder / "log.jsonl").read_text().splitlines()]
    assert [e["reason"] for e in log if e["event"] == "stopped_early"] == [sentence] * 2
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        events = [(event.message, event.round) for event in ledger.events() if event.kind == STOPPED]
        judged = [event for event in ledger.events() if event.kind in {"promoted", "candidate rejected"}]
    assert events == [(sentence, len(labels) - 1)]
    assert [len(event.data["criteria"]) for event in judged] == [7] * len(labels)


def test_a_criterion_that_is_taken_away_lets_the_campaign_go_on(small_campaign):
    """Its candidates are rejected, and what was served stays."""
    strict = {"max_error_ratio": 1e-6, "nve_steps": 10, "foundation_frames": 2}
    small_campaign(rounds=2, stop={"labels": 19}, promote=strict).finish()
    campaign = small_campaign(rounds=2, promote=strict)
    assert [r["round"] for r in campaign.status()["rounds"]] == [0]
    assert campaign.status()["state"] == "stopped"
    campaign.finish()
    rounds = campaign.status()["rounds"]
    assert [r["round"] for r in rounds] == [0, 1]
    for round_ in rounds:
        assert not round_["promoted"]
        assert round_["promotion_reason"].startswith("held-back labels: force MAE")
        assert round_["force_mae_served"] == pytest.approx(round_["force_mae_foundation"])
        held_back, *_ = round_["criteria"]
        assert held_back["limit"] == 1e-6
        assert held_back["value"] > held_back["limit"]


def test_core_hours_are_not_spent_beyond_their_budget(small_campaign):
    """Labels of at least half a second, and a budget of at most nine of them: five are held out."""
    held_out = {"test_frames": 2, "calibration_frames": 3}
    campaign = small_campaign(pause_s=0.5, rounds=3, hold_out=held_out, stop={"label_core_hours": 4.5 / 3600})
    result = campaign.call("run", campaign.config)
    assert result.returncode == 0, result.stderr
    status = campaign.status()
    assert status["stopped_early"].startswith("the budget of stop.label_core_hours is used up")
    assert all(r["labels"] > 0 for r in status["rounds"])
    assert 5 < len(campaign.calculations()) < 10


def test_a_budget_that_pays_for_nothing_says_what_labels_cost(small_campaign):
    campaign = small_campaign(stop={"label_core_hours": 1e-9})
    result = campaign.call("run", campaign.config)
    assert result.returncode == 3
    assert "stop.label_core_hours allows 1e-09 core hours" in result.stderr
