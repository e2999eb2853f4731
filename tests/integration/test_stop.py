"""A campaign that has reached what was asked for ends before its last round, and ends there again."""

import json
import subprocess
import sys

from al_loop import load_config
from al_loop.ledger import open_ledger
from al_loop.promote.stopping import STOPPED


def run(campaign):
    return subprocess.run(
        [sys.executable, "-m", "al_loop.cli", "run", str(campaign.config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=campaign.config.parent,
        env=campaign.environment(),
    )


def test_the_label_budget_ends_the_campaign(small_campaign):
    """14 labels are held out, 5 and 2 are left for two of the five rounds."""
    campaign = small_campaign(rounds=5, stop={"labels": 21})
    sentence = "the budget of stop.labels is used up: 21 of 21"
    for _ in range(2):
        result = run(campaign)
        assert result.returncode == 0, result.stderr
        assert f"Stopped early: {sentence}" in result.stdout
    assert len(campaign.calculations()) == 21

    status = campaign.status()
    assert status["state"] == "finished"
    assert status["stopped_early"] == sentence
    assert [r["labels"] for r in status["rounds"]] == [5, 2]
    assert all(r["label_core_hours"] > 0 for r in status["rounds"])
    assert status["rounds"][0]["time_to_suspect"]["trajectories"] == 2
    assert sentence in (campaign.folder / "report.html").read_text()
    log = [json.loads(line) for line in (campaign.folder / "log.jsonl").read_text().splitlines()]
    assert [e["reason"] for e in log if e["event"] == "stopped_early"] == [sentence] * 2
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        events = [(event.message, event.round) for event in ledger.events() if event.kind == STOPPED]
        judged = [event for event in ledger.events() if event.kind in {"promoted", "candidate rejected"}]
    assert events == [(sentence, 1)]
    assert [len(event.data["criteria"]) for event in judged] == [7, 7]


def test_a_criterion_that_is_taken_away_lets_the_campaign_go_on(small_campaign):
    small_campaign(rounds=2, stop={"label_core_hours": 1e-9}).finish()
    campaign = small_campaign(rounds=2)
    assert [r["round"] for r in campaign.status()["rounds"]] == [0]
    assert campaign.status()["state"] == "stopped"
    campaign.finish()
    assert [r["round"] for r in campaign.status()["rounds"]] == [0, 1]
