"""A small real campaign: copper, SevenNet-0 underneath, EMT as the labelling code."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from ase.build import bulk
from ase.io import write

HERE = Path(__file__).parent
PATIENCE_S = 400  # of a machine that does other work


@dataclass
class SmallCampaign:
    """A campaign's config file and what can be done with it from outside."""

    config: Path
    folder: Path
    count_file: Path

    def environment(self, **more):
        inherited = {key: value for key, value in os.environ.items() if key != "MONGODB_URI"}
        return {**inherited, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", **more}

    def start(self, *arguments):
        with (self.config.parent / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "al_loop.cli", "run", str(self.config), *arguments],
                stdout=output,
                stderr=output,
                env=self.environment(),
                cwd=self.config.parent,
            )

    def finish(self, *arguments):
        process = self.start(*arguments)
        assert process.wait(PATIENCE_S) == 0, self.output()

    def kill_in(self, stage, round_=0, delay_s=0.05, *, workers=False):
        """Start, wait until the log says that a stage began, and kill -9, the workers too if asked."""
        process = self.start()
        self.wait_for(stage, round_)
        time.sleep(delay_s)
        children = psutil.Process(process.pid).children() if workers else []
        process.kill()
        for child in children:
            if "al_loop.label.worker" in child.cmdline():
                child.kill()
        process.wait()

    def wait_for(self, stage, round_=0):
        """Return when the log says that a stage began."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.began(stage, round_):
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.002)

    def began(self, stage, round_):
        log = self.folder / "log.jsonl"
        if not log.exists():
            return False
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        return any(e["event"] == "stage" and (e["stage"], e["round"]) == (stage, round_) for e in events)

    def status(self):
        result = subprocess.run(
            [sys.executable, "-m", "al_loop.cli", "status", str(self.config), "--json"],
            capture_output=True,
            text=True,
            check=True,
            cwd=self.config.parent,
            env=self.environment(),
        )
        return json.loads(result.stdout)

    def calculations(self):
        """How often each label was calculated to its end."""
        return Counter(self.count_file.read_text().split()) if self.count_file.exists() else Counter()

    def output(self):
        logs = [self.config.parent / "output.txt", *self.folder.glob("logs/*")]
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs if path.exists())


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
        "foundation": {"kind": "sevennet", "model": "7net-0"},
        "committee": {"members": 4, "hidden_channels": 16},
        "systems": [{"file": "copper.cif"}],
        "explore": {"temperatures_K": [600], "timestep_fs": 2.0, "steps": 30, "check_every": 5, "replicas": 2},
        "hold_out": {"test_frames": 4, "calibration_frames": 10},
        "select": {"labels_per_round": 5},
        "train": {"epochs": 60},
        "label": {"workers": 2, "lease_s": 5, "engine": engine},
        **blocks,
    }
    path = tmp_path / "copper.yaml"
    path.write_text(yaml.safe_dump(config))
    return SmallCampaign(path, tmp_path / "run", count_file)
