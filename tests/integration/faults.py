"""What the tests of faults share: an undisturbed campaign to compare with, and a record of each trial."""

import contextlib
import json
import os
import signal
from pathlib import Path

import psutil

from al_loop import load_config
from al_loop.ledger import open_ledger
from al_loop.records import Role

RECORDS = "AL_LOOP_FAULT_RECORDS"  # names the file that docs/reliability.md is made from; see benchmarks/fault_table.py


WORKERS = 2
PATIENCE_S = 180


def wait(process, campaign, code=0):
    """Wait for the end of a campaign's process, which is to leave with this exit code."""
    assert process.wait(PATIENCE_S) == code, campaign.output()


def outcome(campaign):
    """What a campaign has in its ledger: training set, held-out labels, and the frames of requests and accepted labels.

    The ids of requests hold the level of theory, which here names a file of this campaign alone.
    """
    config = load_config(campaign.config)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        frames = ledger.labelled(tuple(Role), converged_only=False)
        requests = list(ledger._collection(ledger._docs.request).find({}, {"frame": 1, "label": 1}))
        accepted = list(ledger._collection(ledger._docs.label).find({"superseded": {"$ne": True}}, {"frame": 1}))
        twice = ledger.duplicate_executions()
    return {
        "trained": {f.frame_id: f.label.energy_eV for f in frames if f.role is Role.EXPLORE and f.converged},
        "held_out": {f.frame_id: f.label.energy_eV for f in frames if f.role is not Role.EXPLORE and f.converged},
        "failed": {f.frame_id: f.label for f in frames if not f.converged},
        "open": sum(request.get("label") is None for request in requests),
        "requests": sorted(request["frame"] for request in requests),
        "accepted": sorted(label["frame"] for label in accepted),
        "twice": twice,
    }


def survived(campaign, undisturbed, *, again=0):
    """Assert that a finished campaign ended as the undisturbed one, with one accepted label for each request.

    Args:
        again: how many calculations that had not left their result on disk may have been begun anew.
    """
    found = outcome(campaign)
    assert found["trained"] == undisturbed["trained"]
    assert found["held_out"] == undisturbed["held_out"]
    assert found["accepted"] == found["requests"] == undisturbed["requests"]
    calculated = campaign.calculations()
    assert len(calculated) == len(found["requests"])
    assert calculated.total() <= len(found["requests"]) + again
    return found


def record(test, *, trials, ends):
    """Note a fault that was survived; ``ends`` says how the command itself took it."""
    path = os.environ.get(RECORDS)
    if path:
        line = {"test": test, "trials": trials, "ends": ends}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def server_process(folder):
    """The campaign's private mongod."""
    return psutil.Process(int((folder / "ledger" / "data" / "mongod.lock").read_text()))


def workers_of(process):
    """The living workers of a campaign; one that has just died is no longer counted."""
    return [one for one in psutil.Process(process.pid).children() if _works(one)]


def _works(process):
    try:
        return "al_loop.tools.workers.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return False


def processes_marked(mark):
    """Living processes that a ``RudeEMT`` of this mark has started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("RUDE_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found


def stop_and_go(process, seconds, sleep):
    """Freeze a process for a while."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        sleep(seconds)
    finally:
        os.kill(process.pid, signal.SIGCONT)
