"""A small real campaign: copper, a distilled fairchem model underneath, EMT as the labelling code."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import yaml
from ase.build import bulk
from ase.io import write
from forked_command import ForkedCommand

from al_loop.ledger import Ledger
from al_loop.records import Frame
from dft_interfaces.label import Label

HERE = Path(__file__).parent
PATIENCE_S = 400  # of a machine that does other work
# Answers in a quarter of the time that SevenNet-0, its teacher, takes.
DISTILLED = {
    "kind": "fairchem",
    "model": str(HERE.parent / "data" / "distilled" / "distilled.pt"),
    "task_name": "omat",
}
SEVENNET = {"kind": "sevennet", "model": "7net-0"}


@dataclass
class SmallCampaign:
    """A campaign's config file and what can be done with it from outside."""

    config: Path
    folder: Path
    count_file: Path

    def environment(self, **more):
        inherited = {key: value for key, value in os.environ.items() if key != "MONGODB_URI"}
        return {**inherited, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **more}

    def start(self, *arguments, **environment):
        words, output = ["run", self.config, *arguments], self.config.parent / "output.txt"
        return ForkedCommand(words, output, self.environment(**environment), self.config.parent)

    def call(self, *words, **environment):
        """Run any command to its end; return its exit code and what it said."""
        output, errors = (self.config.parent / name for name in ("stdout.txt", "stderr.txt"))
        for path in (output, errors):
            path.write_bytes(b"")
        process = ForkedCommand(words, output, self.environment(**environment), self.config.parent, errors)
        code = process.wait(PATIENCE_S)
        return subprocess.CompletedProcess(words, code, output.read_text(), errors.read_text())

    def run(self):
        """Run the command to the end."""
        assert self.start().wait(PATIENCE_S) == 0, self.output()

    def finish(self):
        """Do what the command does, in this process: the libraries, which take longer than a round, are loaded once."""
        from al_loop import Campaign

        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MONGODB_URI", raising=False)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            patch.chdir(self.config.parent)
            return list(Campaign.from_file(self.config).run())

    def kill_in(self, stage, round_=0, delay_s=0.05, *, labels=0, workers=False):
        """Start, wait until a stage began and some labels lie on disk, and kill -9, the workers too if asked."""
        process = self.start()
        self.wait_for(stage, round_)
        self.wait_for_labels(labels)
        time.sleep(delay_s)
        children = psutil.Process(process.pid).children() if workers else []
        process.kill()
        for child in children:
            if "al_loop.tools.workers.worker" in child.cmdline():
                child.kill()
        process.wait()

    def wait_for(self, stage, round_=0):
        """Return when the log says that a stage began."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.began(stage, round_):
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.002)

    def wait_for_labels(self, count=1):
        """Return when so many labels lie on disk: workers take longer to start than a quick stage to pass."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.results()) < count:
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.002)

    def results(self):
        """Files of finished labels."""
        return list(self.folder.glob("dft/results/*.json"))

    def began(self, stage, round_):
        log = self.folder / "log.jsonl"
        if not log.exists():
            return False
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        return any(e["event"] == "stage" and (e["stage"], e["round"]) == (stage, round_) for e in events)

    def status(self):
        told = self.call("status", self.config, "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def calculations(self):
        """How often each label was calculated to its end."""
        return Counter(self.count_file.read_text().split()) if self.count_file.exists() else Counter()

    def output(self):
        logs = [self.config.parent / "output.txt", *self.folder.glob("logs/*")]
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs if path.exists())


class FinishedCampaign:
    """A campaign of one round that is run once, for all tests that begin where it ended."""

    def __init__(self, folder):
        self._folder = folder
        campaign = make_campaign(folder)
        campaign.finish()
        shutil.copytree(campaign.folder, folder / "kept", symlinks=True)
        self._calculations = campaign.count_file.read_text()

    def again(self, **blocks):
        """Put everything back where it was when the round was done; keyword arguments replace blocks of the config."""
        campaign = make_campaign(self._folder, **blocks)
        shutil.rmtree(campaign.folder)
        shutil.copytree(self._folder / "kept", campaign.folder, symlinks=True)
        campaign.count_file.write_text(self._calculations)
        return campaign


def make_campaign(tmp_path, pause_s=0.0, **blocks):
    """Write a config and its structure; keyword arguments replace blocks of the config."""
    write(tmp_path / "copper.cif", bulk("Cu", cubic=True))
    count_file = tmp_path / "count.txt"
    engine = {
        "engine": "ase",
        "calculator": "counting_emt.CountingEMT",
        "arguments": {"count_file": str(count_file), "pause_s": pause_s},
    }
    config = {
        "name": "copper",
        "folder": str(tmp_path / "run"),
        "seed": 3,
        "rounds": 1,
        "foundation": DISTILLED,
        "committee": {"members": 4, "hidden_channels": 16},
        "systems": [{"file": "copper.cif"}],
        "explore": {"temperatures_K": [600], "timestep_fs": 2.0, "steps": 30, "check_every": 5, "replicas": 2},
        "hold_out": {"test_frames": 4, "calibration_frames": 10},
        "select": {"labels_per_round": 5},
        "train": {"epochs": 60},
        "promote": {"nve_steps": 10, "foundation_frames": 2},
        "label": {"workers": 2, "lease_s": 5, "engine": engine},
        **blocks,
    }
    path = tmp_path / "copper.yaml"
    path.write_text(yaml.safe_dump(config))
    return SmallCampaign(path, tmp_path / "run", count_file)


def add_labels(ledger: Ledger, frames: Sequence[Frame], labels: Sequence[Label]) -> int:
    """Add labels to a campaign as an import does; return how many are new to it."""
    labelled = [replace(frame, label=label) for frame, label in zip(frames, labels, strict=True)]
    with ledger.all_or_nothing() as added:
        ledger.store_prepared([ledger.prepare_frame(frame, order) for order, frame in enumerate(labelled)], added)
    return added.new_labels
