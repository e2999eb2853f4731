"""The same command starts, resumes and repeats; kills in the middle of stages are in test_faults.py."""

import json
import shutil

import psutil
import pytest
from campaigns import FinishedCampaign

from al_loop import Campaign, load_config
from al_loop.errors import InputError
from al_loop.ledger import open_ledger
from committee.backbones import load_backbone
from committee.checkpoint import load, sealed

pytestmark = pytest.mark.long

STAGES = ("hold_out", "explore", "select", "label", "train", "promote", "evaluate", "report")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return FinishedCampaign(tmp_path_factory.mktemp("finished"))


def test_a_disturbed_campaign_ends_where_an_undisturbed_one_does(finished, small_campaign):
    campaign = finished.again(rounds=2)
    campaign.kill_in("train", round_=1)
    campaign.run()
    disturbed = campaign.status()["rounds"]

    campaign = small_campaign(rounds=2)
    campaign.finish()
    undisturbed = campaign.status()["rounds"]

    for one, other in zip(disturbed, undisturbed, strict=True):
        assert one["verdicts"] == other["verdicts"]
        assert one["labels"] == other["labels"]
        assert one["force_mae_served"] == pytest.approx(other["force_mae_served"], rel=1e-6)


def test_a_finished_campaign_is_left_as_it_is(finished):
    campaign = finished.again()
    before = campaign.status()
    campaign.finish()
    assert campaign.status() == before
    assert len(campaign.calculations()) == 19


def test_more_rounds_can_be_asked_for_later(finished):
    campaign = finished.again(rounds=2)
    campaign.finish()
    assert [r["round"] for r in campaign.status()["rounds"]] == [0, 1]


@pytest.mark.parametrize("damage", ["deleted", "cut", "edited"])
def test_a_served_model_that_is_lost_between_rounds_is_made_again(finished, damage):
    campaign = finished.again(rounds=2)
    model = campaign.folder / "models" / "round-000"
    before = (model / "committee.safetensors").read_bytes()
    if damage == "deleted":
        shutil.rmtree(model)
    elif damage == "cut":
        (model / "committee.json").unlink()
        (model / "committee.safetensors").write_bytes(before[:1000])
    else:
        text = (model / "committee.json").read_text()
        assert "fairchem:" in text
        (model / "committee.json").write_text(text.replace("fairchem:", "fairchm:"))
    campaign.finish()
    assert [r["round"] for r in campaign.status()["rounds"]] == [0, 1]
    assert (model / "committee.safetensors").read_bytes() == before


def test_a_served_model_that_was_exchanged_is_not_served(finished):
    """By a whole checkpoint that opens: what another campaign had left in the folder, for example."""
    campaign = finished.again()
    opened = Campaign.from_file(campaign.config)
    model = opened.served_model()
    before = (model / "committee.json").read_bytes()
    description = json.loads(before)
    description["shifts"]["eV_per_atom"]["29"] += 1.0
    (model / "committee.json").write_text(json.dumps(sealed(description)))
    load(model, load_backbone(opened.config.foundation))
    with pytest.raises(InputError, match=rf"{model} is another checkpoint than the one .*`al-loop run` makes it again"):
        opened.served_model()
    campaign.finish()
    assert (opened.served_model() / "committee.json").read_bytes() == before


def test_another_name_in_the_folder_of_a_campaign_changes_nothing(finished):
    campaign = finished.again(name="silver")
    places = ("models/**/*", "trajectories/**/*", "*.id", "report.html")
    kept = {path: path.read_bytes() for one in places for path in campaign.folder.glob(one) if path.is_file()}
    for command in ("run", "status", "report", "check-config"):
        said = campaign.call(command, campaign.config)
        assert (said.returncode, "folder of campaign copper" in said.stderr) == (2, True), said.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(kept) > 3


def test_a_stage_that_was_cut_off_before_it_was_noted_ends_the_same(finished):
    """Kill -9 between the last write of a stage and its "done", for each stage of one campaign."""
    campaign = finished.again()
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
    """Leave the ledger as a kill after the last write of the first stage would, before that is noted as done.

    What later stages wrote stays and may not harm, but for requests of select: they would change what select sees.
    """
    rounds = ledger._collection(ledger._docs.round)
    rounds.update_one({"_id": f"{ledger.campaign}/0"}, {"$unset": {f"stages.{stage}": 1 for stage in stages}})
    if "explore" in stages:
        want = {"campaign": ledger.campaign, "role": "explore"}
        ledger._collection(ledger._docs.request).update_many({}, {"$pull": {"wanted_by": want}})


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
