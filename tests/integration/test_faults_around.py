"""Faults of what a campaign stands on, each injected into a real one: the database, the disk, the clock.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py).
"""

import os
import re
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pymongo
import pytest
from faults import PATIENCE_S, outcome, record, server_process, stop_and_go, survived, wait, workers_of

from al_loop.ledger.private_server import private_server, stop_server

pytestmark = pytest.mark.long


@pytest.mark.parametrize("stage", ["explore", "label"])
def test_fault_database_killed(small_campaign, undisturbed, stage):
    """In the middle of inserts: visits while exploring, labels while labelling."""
    campaign = small_campaign(pause_s=0.1)
    process = campaign.start()
    campaign.wait_for(stage)
    if stage == "label":
        campaign.wait_for_labels()
    time.sleep(0.3)
    server_process(campaign.folder).kill()
    wait(process, campaign)
    # Whoever needs it first starts it again: an operation that waited for it, or a worker that has just begun.
    assert (campaign.folder / "ledger" / "mongod.log").read_text().count("MongoDB starting") == 2
    survived(campaign, undisturbed)
    record("database_killed", trials=1, ends="the campaign starts it again and goes on")


def test_fault_database_frozen(small_campaign, undisturbed):
    campaign = small_campaign(pause_s=0.1)
    process = campaign.start()
    campaign.wait_for("label")
    campaign.wait_for_labels()
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
        campaign.wait_for_labels()
        os.kill(int((server / "data" / "mongod.lock").read_text()), 9)
        time.sleep(6.0)
        private_server(server)
        wait(process, campaign)
        survived(campaign, undisturbed)
    finally:
        stop_server(server)
    assert "does not respond" in campaign.output()
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
        campaign.wait_for_labels()
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
            campaign.run()
        found = outcome(campaign)
        assert not found["open"]
        assert found["accepted"] == found["requests"] == undisturbed["requests"]
        good = {**found["trained"], **found["held_out"]}
        expected = {**undisturbed["trained"], **undisturbed["held_out"]}
        assert good == {frame: expected[frame] for frame in expected if frame not in found["failed"]}
        assert not found["failed"]
    ends = "the campaign goes on" if code == 0 else "it ends with a message; the same command continues"
    record("disk_full", trials=1, ends=ends)


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
