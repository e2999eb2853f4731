"""Ways in which a file is damaged, and a campaign that was stopped in its middle, restored for each of them."""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from campaigns import PATIENCE_S, SmallCampaign
from faults import outcome

from al_loop.ledger.private_server import stop_server


def _flipped(path):
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


def made_a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


def made_a_file(path):
    shutil.rmtree(path)
    path.write_text("something else")


DAMAGES = {
    "removed": Path.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "flipped": _flipped,
    "a list": lambda path: path.write_text("[1, 2]"),
    "huge numbers": lambda path: path.write_text(f'{{"sha256": 1e999, "version": {"9" * 400}, "done": {"9" * 5000}}}'),
    "nested too deeply": lambda path: path.write_text("[" * 100_000),
    "not UTF-8": lambda path: path.write_bytes(b'{"\xff\xfe": "\xe9"}'),
    "unreadable": lambda path: path.chmod(0),
}


@dataclass(frozen=True)
class Interrupted:
    """A campaign that was killed while exploring and while promoting, and what it came to in the end.

    Attributes:
        campaign: where it lives; each trial begins with the state of a stage put back there.
        kept: one folder for each stage, beside it.
        bits: of trajectories and models at the end.
        outcome: what the ledger holds at the end.
    """

    campaign: SmallCampaign
    kept: Path
    bits: dict[str, bytes]
    outcome: dict[str, Any]

    def at(self, stage):
        """Put everything back where it was when the campaign was killed in a stage."""
        shutil.rmtree(self.campaign.folder, ignore_errors=True)
        shutil.copytree(self.kept / stage, self.campaign.folder, symlinks=True)
        self.campaign.count_file.write_text("")
        return self.campaign

    def survived(self):
        """Assert that the campaign ended as it does when nothing was damaged, and left no process."""
        assert bits(self.campaign.folder) == self.bits
        assert outcome(self.campaign) == self.outcome
        assert not left_behind(self.campaign.folder)


def interrupted(campaign):
    """Kill a campaign twice, and run it to its end."""
    kept = campaign.folder.with_name("kept")
    for stage, sign in (("explore", "trajectories/*/explore/state.npz"), ("promote", "models/*/committee.json")):
        process = campaign.start()
        campaign.wait_for(stage)
        deadline = time.monotonic() + PATIENCE_S
        while not list(campaign.folder.glob(sign)):
            assert time.monotonic() < deadline, campaign.output()
            time.sleep(0.001)
        workers = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        psutil.wait_procs(workers, timeout=30)
        stop_server(campaign.folder / "ledger")
        shutil.copytree(campaign.folder, kept / stage, symlinks=True)
    campaign.run()
    return Interrupted(campaign, kept, bits(campaign.folder), outcome(campaign))


def bits(folder):
    """What exploration and training have written, by its place."""
    files = [*folder.glob("trajectories/*/*/*.extxyz"), *folder.glob("models/*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def contents(folder, *, database=False):
    """Every file of a campaign, apart from what its locks and its server write at each start.

    Args:
        folder: of the campaign.
        database: with the database's own files, which a server that starts brings up to date.
    """
    passing = {"campaign.lock", "campaign.running", "mongod.log", "mongod.start", "mongod.sock"}
    found = {}
    for path in sorted(folder.rglob("*")):
        of_server = "data" in path.parts and not (database and path.name.startswith(("collection", "index")))
        if path.name not in passing and not of_server and os.access(path, os.R_OK):
            found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


@contextmanager
def read_only(folder):
    """Make a folder one of a read-only file system, for whoever opens anything in it from now on."""
    aside = folder.with_name("read-only")
    aside.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "--bind", folder, aside], check=False)
    if done.returncode:
        pytest.skip("only root may mount a folder read-only")
    try:  # aside first: where somebody writes, nothing can be made read-only
        subprocess.run(["mount", "-o", "remount,ro,bind", aside], check=True)
        subprocess.run(["mount", "--bind", aside, folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", aside], check=True)


def left_behind(folder):
    """Processes that work in a folder."""
    found = [process.info for process in psutil.process_iter(["pid", "cmdline", "cwd"])]
    return [  # a worker is known by where it was started
        one for one in found if one["cwd"] == str(folder.parent) or str(folder) in " ".join(one["cmdline"] or [])
    ]
