"""A campaign whose foundation is adapted: killed between adaptation and heads, its model lost, its report, and on."""

import json
import shutil

import pytest
from campaigns import PATIENCE_S
from slurm import wait_until

from al_loop import load_config
from al_loop.ledger import open_ledger
from committee.backbones import load_backbone
from committee.checkpoint import load

pytestmark = pytest.mark.long

TRAIN = {
    "epochs": 60,
    "adapt": "always",
    "adaptation": {"optimizer": "adam", "epochs": 4, "batch_frames": 2, "learning_rate": 5e-4},
}
JUDGED = {  # five labels change the probe frames, two of them, by more than the default allows
    "gate": {"force_tolerance_eV_per_A": 0.5},
    "promote": {"max_rise": 0.5},
}


def started(campaign, stage):
    """How often a part of the training began."""
    log = campaign.folder / "log.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return sum(event["event"] == "stage_started" and event["stage"] == stage for event in events)


def test_an_adapted_campaign(small_campaign):
    campaign = small_campaign(train=TRAIN, **JUDGED)
    process = campaign.start()
    wait_until(lambda: started(campaign, "tangents"), PATIENCE_S)
    process.kill()
    process.wait()
    (report,) = campaign.finish()
    assert started(campaign, "adapt") == 1  # before the kill

    made = report.adaptation
    assert (made["mode"], made["kept"], made["frames"]) == ("always", True, 10)
    assert made["sentence"].startswith("The foundation was adapted to 5 labels (train.adapt: always): force MAE")
    assert made["force_mae_adapted"] == pytest.approx(report.criteria[0]["value"] * _served(report), rel=1e-3)
    page = (campaign.folder / "report.html").read_text()
    assert "<h2>Adaptation</h2>" in page
    assert made["foundation"] in page
    config = load_config(campaign.config)
    model = campaign.folder / "models" / "round-000"
    foundation = load_backbone(config.foundation)
    assert load(model, foundation).backbone.name == made["foundation"] != foundation.name
    with open_ledger(config.store, config.folder, config.name) as ledger:
        (event,) = ledger.events("adaptation")
        assert (event.message, event.round) == (made["sentence"], 0)
        assert ledger.models()[0].info["foundation"] == made["foundation"]
    assert report.promoted, report.promotion_reason

    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert "adapted.safetensors" in before
    shutil.rmtree(model)
    shutil.rmtree(campaign.folder / "tangents" / "adaptation")
    later = small_campaign(rounds=2, train={**TRAIN, "adapt": "auto"}, **JUDGED)
    reports = later.finish()
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before  # made again as it was
    assert [one.round for one in reports] == [0, 1]
    assert reports[1].adaptation["mode"] == "auto"
    assert reports[1].adaptation["foundation"] == made["foundation"]  # heads on the served model's foundation
    assert reports[1].held_out.force_mae_foundation == pytest.approx(report.held_out.force_mae_foundation, rel=1e-6)


def _served(report):
    """The served model's force MAE that the first criterion compares with."""
    return float(report.criteria[0]["sentence"].partition("served model's ")[2].split()[0])
