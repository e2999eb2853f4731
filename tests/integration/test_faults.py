"""Faults of processes and engines, each injected into a real campaign: what was paid for is kept, and it ends the same.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py). The faults of
databases, disks and clocks are in test_faults_around.py.
"""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.units import Hartree
from faults import WORKERS, outcome, processes_marked, record, survived, wait, workers_of

pytestmark = pytest.mark.long

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


MANNERS = ("leak", "leak_stubborn", "leak_daemon", "come_back_twice", "close_output", "wander", "unsettle", "leave")


def test_fault_engine_manners(small_campaign, undisturbed, tmp_path):
    """An engine that leaves programs behind, forks, closes its outputs, wanders off, ignores signals and leaves."""
    mark = str(tmp_path)
    engine = {
        "engine": "ase",
        "calculator": "rude_calculators.RudeEMT",
        "arguments": {"how": MANNERS, "count_file": str(tmp_path / "count.txt"), "mark": mark},
    }
    campaign = small_campaign(label={"workers": 1, "lease_s": 5, "engine": engine, "retry": {"delay_s": 0}})
    campaign.run()
    assert processes_marked(mark) == []
    survived(campaign, undisturbed, again=len(MANNERS))  # by copies that were forked, whose answers do not count
    record("engine_manners", trials=len(MANNERS), ends="the campaign goes on, and no process is left")


def test_fault_engine_changes(small_campaign, tmp_path):
    """From the 18th label on the engine gives Hartree in place of eV: the campaign stops before it trains on that."""
    engine = {
        "engine": "ase",
        "calculator": "rude_calculators.ChangingEMT",
        "arguments": {
            "count_file": str(tmp_path / "count.txt"),
            "after": 17,
            "forces": 1 / Hartree,
            "energy": 1 / Hartree,
        },
    }
    blocks = {"label": {"workers": 1, "lease_s": 5, "engine": engine}, "select": {"labels_per_round": 9}}
    campaign = small_campaign(**blocks)
    wait(campaign.start(), campaign, code=3)
    said = campaign.output()
    assert re.search(
        r"all 6 labels from label #18 on \(of 23, in the order of calculation\) look as if the forces", said
    )
    assert "Hartree/Å" in said
    assert not list(campaign.folder.glob("models/*"))

    small_campaign(**blocks, align={"on_unit_mismatch": "leave_out"}).run()
    found = outcome(campaign)
    assert (len(found["trained"]), len(found["held_out"]), len(found["failed"])) == (3, 14, 6)
    kept = {**found["trained"], **found["held_out"]}
    assert {repr(np.float64(energy)) for energy in kept.values()} <= set(campaign.calculations())
    ends = "it stops with a message before it trains; with `leave_out` it goes on without these labels"
    record("engine_changes", trials=1, ends=ends)


def test_fault_worker_frozen(small_campaign, undisturbed):
    """The only worker stands still in mid-label, with its engine."""
    campaign = small_campaign(pause_s=0.3)
    settings = yaml.safe_load(campaign.config.read_text())
    settings["label"]["workers"] = 1
    campaign.config.write_text(yaml.safe_dump(settings))
    process = campaign.start()
    campaign.wait_for("label")
    campaign.wait_for_labels()
    (worker,) = workers_of(process)
    for frozen in [worker, *worker.children(recursive=True)]:
        frozen.suspend()
    wait(process, campaign)
    survived(campaign, undisturbed, again=1)
    said = " ".join((campaign.config.parent / "output.txt").read_text().split())
    assert "worker_000 has sent no heartbeat for 5 s" in said
    record("worker_frozen", trials=1, ends="the campaign kills it, starts another one and goes on")


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
