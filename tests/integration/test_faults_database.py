"""Faults of a database that is not the campaign's own, each injected into a real campaign.

Each test notes its trials; docs/reliability.md is made from these notes (benchmarks/fault_table.py).
"""

from pathlib import Path

import pymongo
import pytest
from faults import record, survived, wait
from unwilling_servers import GuardedServer, listening, relay

from al_loop.ledger.private_server import held_server

pytestmark = pytest.mark.long


@pytest.fixture
def guarded(tmp_path_factory):
    """A server with a user whose URI stands in a file, as it must where it holds a password."""
    running = GuardedServer(tmp_path_factory.mktemp("rs"))
    try:
        yield running
    finally:
        running.kill()


def uri_file(folder, server, user="writer"):
    path = folder / f"{user}.txt"
    path.touch(mode=0o600)
    path.write_text(server.uri(user))
    return str(path)


def test_fault_database_slow(small_campaign, undisturbed, tmp_path):
    with (
        held_server(tmp_path / "server") as own,
        listening(tmp_path / "s.sock", relay(Path(pymongo.uri_parser.parse_uri(own)["nodelist"][0][0]), 0.03)) as uri,
    ):
        campaign = small_campaign(store={"uri": uri, "wait_s": 60})
        wait(campaign.start(), campaign)
        survived(campaign, undisturbed)
        assert "does not respond" not in campaign.output()
    record("database_slow", trials=1, ends="the campaign goes on")


def test_fault_database_read_only(small_campaign, undisturbed, guarded, tmp_path):
    """It takes no writes at the start, and again while labels are made; what only reads works meanwhile."""
    campaign = small_campaign(pause_s=0.2, store={"uri_file": uri_file(tmp_path, guarded), "wait_s": 10})
    with guarded.read_only():
        wait(campaign.start(), campaign, code=2)
        assert "refuses what the ledger needs" in campaign.output()
        assert not campaign.folder.exists()
        assert not campaign.calculations()
    process = campaign.start()
    campaign.wait_for("label")
    campaign.wait_for_labels()
    with guarded.read_only():
        wait(process, campaign, code=1)
        said = (campaign.config.parent / "output.txt").read_text()
        assert "The campaign lost its database: the server at" in said, campaign.output()
        assert "refuses an operation that it allowed before" in said
        for words in (["status"], ["export", "--to", "labels.xyz"]):
            done = campaign.call(words[0], campaign.config, *words[1:])
            assert done.returncode == 0, done.stderr
    campaign.run()
    survived(campaign, undisturbed, again=2)
    record(
        "database_read_only",
        trials=2,
        ends="at the start it refuses (exit code 2); later it ends with a message, and the same command continues",
    )


def test_fault_database_other_version(small_campaign, undisturbed, guarded, tmp_path):
    """The server keeps the format of an earlier version, and is brought to its own while labels are made."""
    guarded.root("setFeatureCompatibilityVersion", "5.0")
    campaign = small_campaign(pause_s=0.1, store={"uri_file": uri_file(tmp_path, guarded), "wait_s": 60})
    process = campaign.start()
    campaign.wait_for("label")
    campaign.wait_for_labels()
    guarded.root("setFeatureCompatibilityVersion", "6.0")
    wait(process, campaign)
    survived(campaign, undisturbed)
    record("database_other_version", trials=1, ends="the campaign goes on")
