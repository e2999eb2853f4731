"""A real campaign in which frames fail in every way: they are quarantined and nobody trains on them."""

from collections import Counter

import pytest
from campaigns import SEVENNET

from al_loop import load_config
from al_loop.ledger import open_ledger
from al_loop.records import Role
from dft_interfaces.label import Failure

pytestmark = pytest.mark.long

FAILURES = {
    "segfault": Failure.CRASH,
    "leave": Failure.CRASH,
    "hang": Failure.TIME,
    "hog": Failure.MEMORY,
    "disk_full": Failure.DISK,
    "no_output": Failure.OUTPUT,
    "no_energy": Failure.NOT_FINITE,
    "net_force": Failure.NET_FORCE,
    "unconverged": Failure.UNCONVERGED,
    "another_system": Failure.OUTLIER,
    "other_forces": Failure.OUTLIER,
}


def failing_label_block(tmp_path, ways, **more):
    return {
        "workers": 2,
        "engine": {
            "engine": "ase",
            "calculator": "failing_calculators.SometimesFailingEMT",
            "arguments": {"folder": str(tmp_path / "frames"), "ways": ways},
        },
        "limits": {"time_s": 6, "memory_GB": 0.3},
        "retry": {"tries": 2, "delay_s": 0},
        "max_failed_fraction": 0.9,
        **more,
    }


def test_frames_that_fail_in_every_way_are_quarantined_and_the_round_ends(small_campaign, tmp_path):
    ways = [way for failing in FAILURES for way in (failing, "")]
    campaign = small_campaign(
        foundation=SEVENNET,
        label=failing_label_block(tmp_path, ways),
        select={"labels_per_round": 10},
    )
    campaign.finish()

    (report,) = campaign.status()["rounds"]
    failed = Counter(frame["failure"] for frame in report["quarantined"])
    assert set(failed) == {failure.value for failure in FAILURES.values()}
    assert report["labels_failed"] == len(report["quarantined"]) == sum(failed.values())
    assert {frame["tries"] for frame in report["quarantined"] if frame["failure"] == "disk"} == {2}

    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        quarantined = [f for f in ledger.labelled(tuple(Role), converged_only=False) if not f.converged]
        assert {f.frame_id for f in quarantined} == {frame["frame"] for frame in report["quarantined"]}
        assert all(f.label.energy_eV is None and f.label.message for f in quarantined)
        trained = {f.frame_id for f in ledger.labelled((Role.EXPLORE,))}
        assert not trained & {f.frame_id for f in quarantined}
        assert ledger.stage_results(0, "train")["labels"] == len(trained) == report["labels"]
        noted = [event.data["frame"] for event in ledger.events() if event.kind == "quarantined"]
        assert sorted(noted) == sorted(f.frame_id for f in quarantined)
    reasons = " ".join(frame["reason"] for frame in report["quarantined"])
    for words in ("signal 11", "exit code 3", "time limit of 6 s", "0.3 GB", "No space left", "energy is 62.5 eV"):
        assert words in reasons
    page = (campaign.folder / "report.html").read_text()
    assert "energy is" in page
    assert "signal 11 (Segmentation fault)" in page


def test_the_same_frames_are_outliers_after_a_restart(small_campaign, tmp_path):
    """One worker: which frames fail, and whether they look like a change of units, depends on the order of labels."""
    label = failing_label_block(tmp_path, ["", "", "another_system", ""], workers=1)
    campaign = small_campaign(foundation=SEVENNET, label=label)
    campaign.kill_in("train")
    campaign.finish()
    (report,) = campaign.status()["rounds"]
    assert {frame["failure"] for frame in report["quarantined"]} == {"outlier"}
    assert len(report["quarantined"]) == len(list((tmp_path / "frames").glob("*-another_system")))
