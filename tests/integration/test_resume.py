"""The same command goes on after kill -9 in the middle of any stage; no finished label is lost or made again."""

import json
import shutil

import numpy as np
import psutil
import pytest

from al_loop import load_config
from al_loop.ledger import open_ledger

STAGES = ("hold_out", "explore", "select", "label", "train", "promote", "evaluate", "report")
WORKERS = 2


@pytest.mark.parametrize("stage", STAGES)
def test_kill_in_a_stage_then_the_same_command(small_campaign, stage):
    campaign = small_campaign(pause_s=0.2 if stage == "label" else 0.0)
    campaign.kill_in(stage)
    campaign.finish()

    (report,) = campaign.status()["rounds"]
    calculated = campaign.calculations()
    assert report["labels"] == 5
    assert report["labels_held_out"] == 14
    assert len(calculated) == 19
    assert set(calculated.values()) == {1}


def test_a_disturbed_campaign_ends_where_an_undisturbed_one_does(small_campaign, tmp_path):
    campaign = small_campaign(rounds=2)
    campaign.kill_in("train", round_=1)
    campaign.finish()
    disturbed = campaign.status()["rounds"]

    (tmp_path / "run").rename(tmp_path / "run-disturbed")
    campaign.count_file.unlink()
    campaign.finish()
    undisturbed = campaign.status()["rounds"]

    for one, other in zip(disturbed, undisturbed, strict=True):
        assert one["verdicts"] == other["verdicts"]
        assert one["labels"] == other["labels"]
        assert one["force_mae_served"] == pytest.approx(other["force_mae_served"], rel=1e-6)


def test_workers_that_die_with_their_campaign_leave_nothing_undone(small_campaign):
    campaign = small_campaign(pause_s=0.5)
    campaign.kill_in("label", delay_s=0.7, workers=True)
    results = [json.loads(path.read_text()) for path in campaign.folder.glob("dft/results/*.json")]
    on_disk = {repr(np.float64(result["label"]["energy_eV"])) for result in results}
    assert on_disk
    campaign.finish()
    calculated = campaign.calculations()
    assert len(calculated) == 19
    assert {calculated[energy] for energy in on_disk} == {1}
    # A worker may die between the end of a calculation and its file: that one, and no other, is made again.
    assert calculated.total() <= 19 + WORKERS


def test_a_finished_campaign_is_left_as_it_is(small_campaign):
    campaign = small_campaign()
    campaign.finish()
    before = campaign.status()
    campaign.finish()
    assert campaign.status() == before
    assert len(campaign.calculations()) == 19


def test_more_rounds_can_be_asked_for_later(small_campaign):
    small_campaign(rounds=1).finish()
    campaign = small_campaign(rounds=2)
    campaign.finish()
    assert [r["round"] for r in campaign.status()["rounds"]] == [0, 1]


@pytest.mark.parametrize("damage", ["deleted", "cut", "edited"])
def test_a_served_model_that_is_lost_between_rounds_is_made_again(small_campaign, damage):
    small_campaign(rounds=1).finish()
    campaign = small_campaign(rounds=2)
    model = campaign.folder / "models" / "round-000"
    before = (model / "committee.safetensors").read_bytes()
    if damage == "deleted":
        shutil.rmtree(model)
    elif damage == "cut":
        (model / "committee.json").unlink()
        (model / "committee.safetensors").write_bytes(before[:1000])
    else:
        (model / "committee.json").write_text((model / "committee.json").read_text().replace("sevennet", "sevenet"))
    campaign.finish()
    assert [r["round"] for r in campaign.status()["rounds"]] == [0, 1]
    assert (model / "committee.safetensors").read_bytes() == before


def test_a_stage_that_was_cut_off_before_it_was_noted_ends_the_same(small_campaign):
    """Kill -9 between the last write of a stage and its "done", for each stage of one campaign."""
    campaign = small_campaign()
    campaign.finish()
    config = load_config(campaign.config)
    for number in reversed(range(len(STAGES))):
        with open_ledger(config.store, config.folder, config.name) as ledger:
            before = {stage: ledger.stage_results(0, stage) for stage in STAGES[:-1]}
            forget(ledger, *STAGES[number:])
            assert ledger.stage_results(0, STAGES[number]) is None
        campaign.finish()
        with open_ledger(config.store, config.folder, config.name) as ledger:
            assert {stage: ledger.stage_results(0, stage) for stage in STAGES[:-1]} == before
        assert len(campaign.calculations()) == 19
        assert set(campaign.calculations().values()) == {1}
    assert before["promote"]["promoted"]
    assert before["promote"]["force_mae_candidate"] < before["promote"]["force_mae_served"]


def forget(ledger, *stages):
    """Leave the ledger as a kill after the last write of a stage would, before the stage is noted as done."""
    rounds = ledger._collection(ledger._docs.round)
    rounds.update_one({"_id": f"{ledger.campaign}/0"}, {"$unset": {f"stages.{stage}": 1 for stage in stages}})


def test_a_scheduler_that_ends_the_campaign_leaves_nothing_running(small_campaign):
    campaign = small_campaign(pause_s=0.5)
    process = campaign.start()
    campaign.wait_for("label")
    workers = psutil.Process(process.pid).children(recursive=True)
    servers = [one for one in psutil.process_iter(["cmdline"]) if str(campaign.folder) in str(one.info["cmdline"])]
    process.terminate()
    assert process.wait(60) == 130
    assert len(workers) >= 2
    assert servers
    assert psutil.wait_procs([*workers, *servers], timeout=30)[1] == []
