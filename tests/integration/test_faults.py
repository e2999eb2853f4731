"""Faults of processes and engines, each injected into a real campaign: what was paid for is kept, and it ends the same.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py). The faults of
databases, disks and clocks are in test_faults_around.py.
"""

import json
import re
import time
from pathlib import Path

import numpy as np
from faults import WORKERS, outcome, record, survived, wait, workers_of

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
STAGES = ("hold_out", "explore", "select", "label", "train", "promote", "evaluate", "report")


def test_fault_campaign_killed_in_every_stage(small_campaign, undisturbed):
    campaign = small_campaign()
    for stage in STAGES:
        campaign.kill_in(stage, delay_s=0.02)
    campaign.run()
    survived(campaign, undisturbed)
    record("campaign_killed_in_every_stage", trials=len(STAGES), ends="the same command continues")


def test_fault_campaign_and_workers_killed(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.3)
    campaign.kill_in("label", labels=2, delay_s=0.5, workers=True)
    results = [json.loads(path.read_text()) for path in campaign.results()]
    on_disk = {repr(np.float64(result["label"]["energy_eV"])) for result in results}
    assert on_disk
    campaign.run()
    # A worker may die between the end of a calculation and its file: that one, and no other, is made again.
    survived(campaign, undisturbed, again=WORKERS)
    assert {campaign.calculations()[energy] for energy in on_disk} == {1}
    record("campaign_and_workers_killed", trials=1, ends="the same command continues")


def test_fault_worker_killed(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.3)
    process = campaign.start()
    campaign.wait_for("label")
    campaign.wait_for_labels()
    for _ in range(2):
        time.sleep(0.5)
        for worker in workers_of(process)[:1]:
            worker.kill()
    wait(process, campaign)
    survived(campaign, undisturbed, again=2)
    record("worker_killed", trials=2, ends="the campaign goes on")


ENGINE_FAULTS = ("hang", "segfault", "not_finite", "unconverged", "another_system")


def test_fault_engine(small_campaign, undisturbed, tmp_path):
    """Frames on which the engine hangs, crashes, gives NaN, does not converge or answers for another system."""
    ways = [way for failing in ENGINE_FAULTS for way in (failing, "")]
    campaign = small_campaign(
        label={
            "workers": WORKERS,
            "lease_s": 5,
            "engine": {
                "engine": "ase",
                "calculator": "failing_calculators.SometimesFailingEMT",
                "arguments": {"folder": str(tmp_path / "frames"), "ways": ways},
            },
            "limits": {"time_s": 6},
            "retry": {"tries": 2, "delay_s": 0},
            "max_failed_fraction": 0.9,
        }
    )
    campaign.kill_in("label", delay_s=1.0)
    campaign.run()
    found = outcome(campaign)
    happened = [path.name for path in (tmp_path / "frames").iterdir()]
    assert not found["open"]
    assert found["accepted"] == found["requests"]
    assert len(found["failed"]) == sum(not name.endswith("-") for name in happened) >= len(ENGINE_FAULTS)
    expected = {**undisturbed["trained"], **undisturbed["held_out"]}
    good = {**found["trained"], **found["held_out"]}
    assert good == {frame: energy for frame, energy in expected.items() if frame not in found["failed"]}
    record("engine", trials=len(found["failed"]), ends="the frame is quarantined and the campaign goes on")


def test_fault_second_run(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.1)
    first = campaign.start()
    campaign.wait_for("explore")
    second = campaign.start()
    wait(second, campaign, code=2)
    assert f"already running in {campaign.folder} (process {first.pid})" in campaign.output()
    assert "Traceback" not in campaign.output()
    wait(first, campaign)
    survived(campaign, undisturbed)
    record("second_run", trials=1, ends="the second says so and leaves with exit code 2")


def test_the_page_shows_the_faults_that_are_tested():
    files = HERE.glob("test_faults*.py")
    tested = {
        name for file in files for name in re.findall(r"^def test_fault_(\w+)", file.read_text(), flags=re.MULTILINE)
    }
    rows = re.findall(r"^\| `test_fault_(\w+)` ", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(tested)
