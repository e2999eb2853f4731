"""Faults of the machine that any user can inject: files that may grow no further, and a wall clock that jumps.

As in test_faults.py each test notes its trials for docs/reliability.md.
"""

import resource
import subprocess
import sys
import time
from importlib.metadata import distribution

import psutil
import pytest
from faults import record, server_process, survived

pytestmark = pytest.mark.long

WORKERS = 2
PATIENCE_S = 400
TINY = 4096  # bytes: less than any database, log or trajectory needs


def started(campaign, **variables):
    """The command in a process of its own, with more environment variables; what it says comes through a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "al_loop.cli", "run", str(campaign.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=campaign.environment(**variables),
        cwd=campaign.config.parent,
    )


def wait_for_labels(campaign, process, count):
    """Return when so many labels lie on disk."""
    deadline = time.monotonic() + PATIENCE_S
    while len(list(campaign.folder.glob("dft/results/*.json"))) < count:
        assert time.monotonic() < deadline, campaign.output()
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def test_fault_files_may_not_grow(small_campaign, undisturbed):
    """What a full disk or a quota does, without root: campaign, workers and mongod may write no further."""
    campaign = small_campaign(pause_s=0.3, store={"wait_s": 8})
    process = started(campaign)
    wait_for_labels(campaign, process, 3)
    limited = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    limited.append(server_process(campaign.folder))
    for one in limited:
        resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (TINY, resource.RLIM_INFINITY))
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    # Whether a trajectory or the database is first to hit the limit is chance.
    assert "lost its database" in said or "The disk or quota is full" in said
    assert "then run the same command" in said
    assert "Traceback" not in said
    campaign.finish()
    survived(campaign, undisturbed, again=WORKERS)
    record("files_may_not_grow", trials=1, ends="it ends with a message; the same command continues")


def test_a_campaign_that_may_write_nothing_says_so(small_campaign):
    campaign = small_campaign()
    process = started(campaign)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (TINY, resource.RLIM_INFINITY))
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, said
    assert "al-loop: " in said
    assert "did not start" in said
    assert "Traceback" not in said


def clock(folder):
    """Environment of processes whose wall clock, and no other, is moved by what stands in ``folder/clock``."""
    library = distribution("libfaketime").locate_file("libfaketime/vendor/libfaketime/src/libfaketime.so.1")
    move(folder, "+0")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def move(folder, by):
    (folder / "new").write_text(by + "\n")
    (folder / "new").replace(folder / "clock")


@pytest.mark.skipif(sys.platform != "linux", reason="libfaketime's wheel holds a library for Linux")
def test_fault_wall_clock_jumps(small_campaign, undisturbed, tmp_path):
    """Campaign, workers and mongod live a day ahead, then a day behind."""
    campaign = small_campaign(pause_s=0.3)
    process = started(campaign, **clock(tmp_path))
    for labels, by in ((3, "+1d"), (8, "-1d")):
        wait_for_labels(campaign, process, labels)
        move(tmp_path, by)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    behind, today, ahead = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400 * day)) for day in (-1, 0, 1))
    worker = (campaign.folder / "logs" / "worker_000.log").read_text()
    assert all(day in worker for day in (behind, today, ahead))
    server = (campaign.folder / "ledger" / "mongod.log").read_text()
    assert behind in server  # it is ahead for two seconds, in which it need not say anything
    assert today in server
    found = survived(campaign, undisturbed)
    assert found["twice"] == 0
    record("wall_clock_jumps", trials=2, ends="the campaign goes on")
