"""Faults, each injected into a real campaign: what was paid for is kept, and it ends as an undisturbed one.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py).
"""

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pymongo
import pytest
from faults import outcome, record, server_process, stop_and_go, survived, workers_of

from al_loop.ledger.server import private_server, stop_server

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
STAGES = ("hold_out", "explore", "select", "label", "train", "promote", "evaluate", "report")
WORKERS = 2
PATIENCE_S = 180


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What the campaign of these tests comes to when nothing happens to it."""
    from campaigns import make_campaign

    campaign = make_campaign(tmp_path_factory.mktemp("undisturbed"))
    campaign.finish()
    found = outcome(campaign)
    assert len(found["trained"]) == 5
    assert len(found["held_out"]) == 14
    assert found["accepted"] == found["requests"]
    assert set(campaign.calculations().values()) == {1}
    return found


def wait(process, campaign, code=0):
    assert process.wait(PATIENCE_S) == code, campaign.output()


def test_fault_campaign_killed_in_every_stage(small_campaign, undisturbed):
    campaign = small_campaign()
    for stage in STAGES:
        campaign.kill_in(stage, delay_s=0.02)
    campaign.finish()
    survived(campaign, undisturbed)
    record("campaign_killed_in_every_stage", trials=len(STAGES), ends="the same command continues")


def test_fault_campaign_and_workers_killed(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.3)
    campaign.kill_in("label", delay_s=0.5, workers=True)
    results = [json.loads(path.read_text()) for path in campaign.folder.glob("dft/results/*.json")]
    on_disk = {repr(np.float64(result["label"]["energy_eV"])) for result in results}
    assert on_disk
    campaign.finish()
    # A worker may die between the end of a calculation and its file: that one, and no other, is made again.
    survived(campaign, undisturbed, again=WORKERS)
    assert {campaign.calculations()[energy] for energy in on_disk} == {1}
    record("campaign_and_workers_killed", trials=1, ends="the same command continues")


def test_fault_worker_killed(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.3)
    process = campaign.start()
    campaign.wait_for("label")
    for _ in range(2):
        time.sleep(0.5)
        for worker in workers_of(process)[:1]:
            worker.kill()
    wait(process, campaign)
    survived(campaign, undisturbed, again=2)
    record("worker_killed", trials=2, ends="the campaign goes on")


@pytest.mark.parametrize("stage", ["explore", "label"])
def test_fault_database_killed(small_campaign, undisturbed, stage):
    """In the middle of inserts: visits while exploring, labels while labelling."""
    campaign = small_campaign(pause_s=0.1)
    process = campaign.start()
    campaign.wait_for(stage)
    time.sleep(0.3)
    server_process(campaign.folder).kill()
    wait(process, campaign)
    survived(campaign, undisturbed)
    assert "The database is back" in campaign.output()
    record("database_killed", trials=1, ends="the campaign starts it again and goes on")


def test_fault_database_frozen(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.1)
    process = campaign.start()
    campaign.wait_for("label")
    stop_and_go(server_process(campaign.folder), 8.0, time.sleep)
    wait(process, campaign)
    survived(campaign, undisturbed)
    record("database_frozen", trials=1, ends="the campaign waits and goes on")


def test_fault_users_database_away(small_campaign, undisturbed, tmp_path):
    """A server that is not the campaign's own: it is gone for a while, and its owner starts it again."""
    server = tmp_path / "server"
    campaign = small_campaign(pause_s=0.1, store={"uri": private_server(server), "wait_s": 60})
    try:
        process = campaign.start()
        campaign.wait_for("label")
        os.kill(int((server / "data" / "mongod.lock").read_text()), 9)
        time.sleep(6.0)
        private_server(server)
        wait(process, campaign)
        survived(campaign, undisturbed)
    finally:
        stop_server(server)
    assert "does not answer" in campaign.output()
    record("users_database_away", trials=1, ends="the campaign waits and goes on")


@contextmanager
def small_disk(folder):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_fault_disk_full(small_campaign, undisturbed, tmp_path):
    """Room is made again; what waits goes on, what has ended is started with the same command."""
    with small_disk(tmp_path / "disk") as disk:
        campaign = small_campaign(pause_s=0.3, folder=str(disk / "run"), store={"wait_s": 20})
        campaign.folder = disk / "run"
        process = campaign.start()
        campaign.wait_for("label")
        time.sleep(0.5)
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        time.sleep(4.0)
        ballast.unlink()
        code = process.wait(PATIENCE_S)
        assert code in {0, 1}, campaign.output()
        if code:
            campaign.finish()
        found = outcome(campaign)
        assert not found["open"]
        assert found["accepted"] == found["requests"] == undisturbed["requests"]
        good = {**found["trained"], **found["held_out"]}
        expected = {**undisturbed["trained"], **undisturbed["held_out"]}
        assert good == {frame: expected[frame] for frame in expected if frame not in found["failed"]}
        assert not found["failed"]
    ends = "the campaign goes on" if code == 0 else "it ends with a message; the same command continues"
    record("disk_full", trials=1, ends=ends)


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
    campaign.finish()
    found = outcome(campaign)
    happened = [path.name for path in (tmp_path / "frames").iterdir()]
    assert not found["open"]
    assert found["accepted"] == found["requests"]
    assert len(found["failed"]) == sum(not name.endswith("-") for name in happened) >= len(ENGINE_FAULTS)
    expected = {**undisturbed["trained"], **undisturbed["held_out"]}
    good = {**found["trained"], **found["held_out"]}
    assert good == {frame: energy for frame, energy in expected.items() if frame not in found["failed"]}
    record("engine", trials=len(found["failed"]), ends="the frame is quarantined and the campaign goes on")


def jump(campaign, hours):
    """What a jump of the server's clock does to the leases: all of them are moved the other way."""
    socket = campaign.folder / "ledger" / "mongod.sock"
    if not socket.exists():
        socket = Path((campaign.folder / "ledger" / "socket_folder").read_text()) / "mongod.sock"
    uri = f"mongodb://{str(socket).replace('/', '%2F')}/?directConnection=true"
    move = {"$set": {"lease_until": {"$add": ["$lease_until", -3_600_000 * hours]}}}
    with pymongo.MongoClient(uri) as client:
        requests = next(n for n in client.al_loop.list_collection_names() if re.search("request", n))
        return client.al_loop[requests].update_many({"state": "claimed"}, [move]).modified_count


@pytest.mark.parametrize("hours", [1, -1])
def test_fault_clock_jumps(small_campaign, undisturbed, hours):
    """Ahead: workers keep what they hold. Back: the work of a dead one is not stuck."""
    campaign = small_campaign(pause_s=2.0)
    process = campaign.start()
    campaign.wait_for("label")
    deadline = time.monotonic() + PATIENCE_S
    jumps = 0
    while jumps < 3:
        assert time.monotonic() < deadline, campaign.output()
        assert process.poll() is None, campaign.output()
        jumps += bool(jump(campaign, hours))
        time.sleep(0.3)
    if hours < 0:
        workers_of(process)[0].kill()
    wait(process, campaign)
    found = survived(campaign, undisturbed, again=1 if hours < 0 else 0)
    assert found["twice"] == 0
    record("clock_jumps", trials=jumps, ends="no worker loses its request")


def test_fault_second_run(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.1)
    first = campaign.start()
    campaign.wait_for("explore")
    second = campaign.start()
    wait(second, campaign, code=2)
    assert f"already running in {campaign.folder} (process {first.pid})" in campaign.output()
    wait(first, campaign)
    survived(campaign, undisturbed)
    record("second_run", trials=1, ends="the second says so and leaves with exit code 2")


def test_the_page_shows_the_faults_that_are_tested():
    tested = {name.removeprefix("test_fault_") for name in globals() if name.startswith("test_fault_")}
    rows = re.findall(r"^\| `test_fault_(\w+)` ", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted(tested)
