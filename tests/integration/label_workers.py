"""Label programs in processes of their own, and what they leave on disk."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from ase.build import bulk

from al_loop.config.settings import LabelSettings
from dft_interfaces.files.label_json import label_from_dict
from dft_interfaces.settings import ASECalculatorSettings

HERE = Path(__file__).parent
PATIENCE_S = 120
EMT = ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT")


def structure(request_id):
    """What ``label_program.py`` makes of a request."""
    name, seed = request_id.split("-")
    atoms = bulk(name, cubic=True)
    atoms.rattle(0.05, seed=int(seed))
    return atoms


class Workers:
    """Starts label programs on one folder, with a home and a current folder of their own."""

    def __init__(self, tmp_path, **environment):
        self.environment = {**os.environ, **environment}
        self.folder = tmp_path / "dft"
        self.home = tmp_path / "home"
        self.current = tmp_path / "current"
        self.count_file = tmp_path / "count.txt"
        for path in (self.home, self.current):
            path.mkdir()

    def counting(self, pause_s=0.0):
        return ASECalculatorSettings(
            engine="ase",
            calculator="counting_emt.CountingEMT",
            arguments={"count_file": str(self.count_file), "pause_s": pause_s},
        )

    def calculations(self):
        return len(self.count_file.read_text().split()) if self.count_file.exists() else 0

    def start(self, *requests, settings, worker="worker", **label):
        block = LabelSettings.model_validate({"engine": settings, "retry": {"tries": 1}, **label})
        environment = {**self.environment, "PYTHONPATH": str(HERE), "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        environment["PYIRONSQLTYPE"] = "Postgres"  # a user's own pyiron must not leak in
        program = str(HERE / "label_program.py")
        return subprocess.Popen(
            [sys.executable, program, str(self.folder), worker, block.model_dump_json(), *requests],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.current,
        )

    def finish(self, process):
        return [label for _, label in self.finished(process)]

    def finished(self, process):
        """Return request ids and labels in the order they came."""
        output, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        found = [item for line in output.splitlines() for item in json.loads(line).items()]
        return [(request_id, label_from_dict(label)) for request_id, label in found]

    def run(self, *requests, settings, worker="worker"):
        return self.finish(self.start(*requests, settings=settings, worker=worker))

    def jobs(self, worker="worker"):
        path = self.folder / "workers" / worker / "jobs.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            if not database.execute("select name from sqlite_master where name = 'jobs_pyiron'").fetchall():
                return []
            return [status for (status,) in database.execute("select status from jobs_pyiron")]

    def kill_while_running(self, *requests, settings):
        process = self.start(*requests, settings=settings)
        deadline = time.monotonic() + PATIENCE_S
        while self.jobs() != ["running"]:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        process.kill()
        process.communicate()
