"""Workers that know only the database: two of them in processes and folders of their own, on a real server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from ase.build import bulk

from al_loop.config import StoreSettings
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import Frame, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import frame_id
from dft_interfaces.engines import build_engine
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.settings import ASECalculatorSettings

HERE = Path(__file__).parent
PATIENCE_S = 120
LEASE_S = 3.0


class Site:
    """A campaign in a database, and machines that label for it."""

    def __init__(self, tmp_path: Path, store: StoreSettings, ledger: Ledger) -> None:
        self.tmp_path, self.ledger = tmp_path, ledger
        self.uri = str(store.uri)
        self.count_file = tmp_path / "count.txt"
        self.engine = {
            "engine": "ase",
            "calculator": "counting_emt.CountingEMT",
            "arguments": {"count_file": str(self.count_file), "pause_s": 0.0},
        }
        sys.path.insert(0, str(HERE))
        try:
            level = build_engine(ASECalculatorSettings.model_validate(self.engine)).level_of_theory
        finally:
            sys.path.remove(str(HERE))
        self.level = level.fingerprint
        ledger.start_campaign(
            {"level_of_theory": {"fingerprint": self.level, "summary": level.summary}, "label": {"engine": self.engine}}
        )

    def ask(self, count: int) -> None:
        visits = []
        for seed in range(count):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.1, seed=seed)
            verdict = Verdict(VerdictKind.SUSPECT, GateCheck.UNCALIBRATED)
            visits.append(Frame(frame_id(atoms), atoms, Role.EXPLORE, "cu", f"cu/{seed}", seed, 600.0, verdict))
        self.ledger.replace_visits(0, [Role.EXPLORE], visits)
        self.ledger.request_labels(0, Role.EXPLORE, visits, self.level)

    def worker(self, name: str, *arguments: str, pause_s: float = 0.0, **engine):
        block = {**self.engine, **engine}
        path = self.tmp_path / f"{name}.yaml"
        # The pause is an argument of the calculator, so it may differ only through the environment.
        path.write_text(yaml.safe_dump({"label": {"engine": block, "lease_s": LEASE_S}}))
        command = ["worker", "--campaign", "elsewhere", "--engine", str(path), "--folder", str(self.tmp_path / name)]
        environment = {key: value for key, value in os.environ.items() if key != "MONGODB_URI"}
        environment |= {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "COUNTING_EMT_PAUSE_S": str(pause_s)}
        return subprocess.Popen(
            [sys.executable, "-m", "al_loop.cli", *command, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.tmp_path,
        )

    def wait_until(self, condition) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def claimed_by(self) -> list[str]:
        found = self.ledger._collection(self.ledger._docs.request).find({"state": "claimed"})
        return [request["worker"] for request in found]


@pytest.fixture
def site(store: StoreSettings, tmp_path: Path) -> Iterator[Site]:
    with open_ledger(store, tmp_path, "elsewhere") as ledger:
        yield Site(tmp_path, store, ledger)


def test_two_workers_share_the_requests_and_leave_when_idle(site: Site) -> None:
    site.ask(6)
    workers = [site.worker(name, "--uri", site.uri, "--idle-exit", "4") for name in ("one", "two")]
    for process in workers:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    labelled = site.ledger.labelled([Role.EXPLORE])
    assert len(labelled) == 6
    assert len(site.count_file.read_text().split()) == 6
    assert site.ledger.duplicate_executions() == 0
    assert sum(event.kind == "worker" for event in site.ledger.events()) in {1, 2}
    assert {path.name for path in site.tmp_path.iterdir() if path.is_dir()} >= {"one", "two"}


def test_a_killed_workers_request_goes_to_another_and_a_late_answer_does_not_count(site: Site) -> None:
    site.ask(2)
    first = site.worker("one", "--uri", site.uri, pause_s=60.0)
    site.wait_until(site.claimed_by)
    held = site.ledger._collection(site.ledger._docs.request).find_one({"state": "claimed"})
    for process in [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]:
        process.kill()
    first.communicate()
    second = site.worker("two", "--uri", site.uri, "--labels", "2")
    _, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, errors
    labels = {frame.frame_id: frame.label.energy_eV for frame in site.ledger.labelled([Role.EXPLORE])}
    assert len(labels) == 2
    from al_loop.ledger import ClaimedRequest

    atoms = site.ledger.frames([held["frame"]])[held["frame"]]
    late = ClaimedRequest(held["_id"], held["frame"], atoms, site.level, held["token"], held["attempts"])
    assert not site.ledger.heartbeat(late, 60.0)
    assert not site.ledger.complete(late, Label(LabelStatus.CONVERGED, site.level, -1.0, atoms.positions * 0.0))
    again = {frame.frame_id: frame.label.energy_eV for frame in site.ledger.labelled([Role.EXPLORE])}
    assert again == labels


def test_ctrl_c_twice_gives_the_request_back_at_once(site: Site) -> None:
    site.ask(1)
    process = site.worker("one", "--uri", site.uri, pause_s=60.0)
    site.wait_until(site.claimed_by)
    process.send_signal(signal.SIGINT)
    line = ""
    while "exiting after the current calculation" not in line:
        line = process.stderr.readline()
        assert line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert site.claimed_by() == []
    assert site.ledger.open_requests() == 1
    assert site.ledger.claim("next", site.level, 60.0).attempt == 1


def refusal(process) -> str:
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, errors
    return errors


def test_another_level_of_theory_is_refused(site: Site) -> None:
    site.ask(1)
    other = {**site.engine["arguments"], "asap_cutoff": True}
    text = refusal(site.worker("one", "--uri", site.uri, arguments=other))
    assert site.level in text
    assert "arguments" in text
    assert site.ledger.open_requests() == 1
    assert not site.count_file.exists()


def test_credentials_in_the_arguments_are_refused_and_not_repeated(site: Site) -> None:
    text = refusal(site.worker("one", "--uri", "mongodb://me:hunter2@host/db"))
    assert "MONGODB_URI" in text
    assert "hunter2" not in text
    assert not (site.tmp_path / "one").exists()
    (site.tmp_path / "uri").write_text(site.uri + "\n")
    (site.tmp_path / "uri").chmod(0o644)
    text = refusal(site.worker("one", "--uri-file", str(site.tmp_path / "uri"), "--campaign", "nobody"))
    assert "chmod 600" in text
    (site.tmp_path / "uri").chmod(0o600)
    site.ledger.campaigns()
    text = refusal(site.worker("one", "--uri-file", str(site.tmp_path / "uri"), "--campaign", "nobody"))
    assert "'nobody'" in text
    assert "elsewhere" in text
