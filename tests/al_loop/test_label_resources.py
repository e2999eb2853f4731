"""What labels may use: the cores of this machine, or a queue whose settings agree with those of the calculation."""

import gc
import re
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.stages.label.resources import check_resources, fitting_workers, machine_cores
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.workers.worker_pool import WorkerPool
from al_loop.utils.event_log import EventLog
from dft_interfaces.queue.limits import disagreements
from dft_interfaces.settings import QueueSettings, StageQueueSettings

PATIENCE_S = 60

EMT: dict[str, Any] = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}


def label(cores: int = 1, **settings: Any) -> LabelSettings:
    return LabelSettings.model_validate({"engine": {**EMT, "cores": cores}, **settings})


def written(tmp_path: Path, folder: str = "run", cores: int = 1, queue: dict[str, Any] | None = None) -> Path:
    write(tmp_path / "copper.cif", bulk("Cu", cubic=True))
    config = {
        "name": "copper",
        "folder": str(tmp_path / folder),
        "foundation": {"kind": "sevennet"},
        "systems": [{"file": "copper.cif"}],
        "explore": {"temperatures_K": [300]},
        "label": {"engine": {**EMT, "cores": cores}, "queue": queue},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def other_queue(folder: Path) -> Path:
    folder.mkdir()
    (folder / "queue.yaml").write_text("queue_type: SGE\nqueue_primary: a\nqueues: {a: {script: a.sh}}\n")
    (folder / "a.sh").write_text("{{command}}")
    return folder


def load(tmp_path: Path, queue: dict[str, Any], folder: str = "run") -> Config:
    return load_config(written(tmp_path, folder, queue=queue))


def test_workers_never_ask_for_more_cores_than_there_are() -> None:
    assert fitting_workers(label(workers=1000)) == machine_cores()
    assert fitting_workers(label(workers=1)) == 1
    assert fitting_workers(label(cores=machine_cores(), workers=4)) == 1
    assert fitting_workers(label(workers=4, queue={"partition": "main"})) == 1


def test_a_calculation_that_is_larger_than_the_machine_is_refused() -> None:
    check_resources(label(cores=machine_cores()))
    with pytest.raises(InputError, match=r"label.engine.cores: received \d+, but this machine gives"):
        check_resources(label(cores=machine_cores() + 1))


def test_check_config_refuses_a_calculation_that_is_larger_than_the_machine(tmp_path: Path) -> None:
    path = written(tmp_path, cores=machine_cores() + 1)
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 2
    assert f"label.engine.cores: received {machine_cores() + 1}, but this machine gives" in result.output


def test_through_a_queue_a_calculation_may_be_larger_than_this_machine(tmp_path: Path) -> None:
    other_queue(tmp_path / "queues")
    config = load_config(written(tmp_path, cores=machine_cores() + 1, queue={"queue_folder": "queues"}))
    check_resources(config.label)
    assert fitting_workers(config.label) == 1


def test_a_machine_without_slurm_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"label.queue: the queue's command .* is not on this machine's PATH"):
        check_resources(label(queue={"partition": "main"}))


@pytest.mark.parametrize(
    ("queue", "folder", "words"),
    [
        ({"partition": "main", "time_s": 600}, "run", "label.queue.time_s: received 600, must be at least"),
        ({"partition": "main"}, "my run", "folder: .* queues take no path with a space"),
        ({"queue_folder": "nowhere"}, "run", "label.queue.queue_folder: .*nowhere/queue.yaml is no pysqa description"),
        ({"partition": "main", "tiem_s": 600}, "run", "time_s"),
        ({}, "run", "either partition"),
    ],
)
def test_queues_that_cannot_work_are_refused(tmp_path: Path, queue: dict[str, Any], folder: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(tmp_path, queue, folder)


def test_a_queue_folder_counts_from_the_config_file(tmp_path: Path) -> None:
    folder = other_queue(tmp_path / "queues")
    queue = load(tmp_path, {"queue_folder": "queues"}).label.queue
    assert queue is not None
    assert queue.queue_folder == folder


def test_the_examples_in_the_documentation_are_valid() -> None:
    text = (Path(__file__).parents[2] / "docs" / "queues.md").read_text(encoding="utf-8")
    slurm, other, steps = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL))
    documented = LabelSettings.model_validate(slurm["label"])
    assert documented.queue is not None
    assert not list(disagreements(documented.queue, documented.engine, documented.limits))
    assert QueueSettings.model_validate(other["queue"]).queue == "fast"
    for step in ("explore", "train"):
        assert StageQueueSettings.model_validate(steps[step]["queue"]).tries == 5


def test_a_worker_that_died_is_started_again_and_leaves_no_open_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    config.folder.mkdir()
    with (
        warnings.catch_warnings(record=True) as caught,
        WorkerPool(config, EventLog(tmp_path / "log.jsonl")) as pool,
    ):
        warnings.simplefilter("always")
        assert workers(0) == []
        for _ in range(2):
            pool.start()
            started = workers(fitting_workers(config.label))
            for worker in started:
                worker.kill()
                while worker.status() != psutil.STATUS_ZOMBIE:
                    pass
            pool.check()
        gc.collect()
        for worker in workers(fitting_workers(config.label)):
            worker.kill()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def workers(expected: int) -> list[psutil.Process]:
    """The living worker processes below this one, once there are as many: a new one has no name yet."""
    deadline = time.monotonic() + PATIENCE_S
    while len(found := [child for child in psutil.Process().children() if _works(child)]) != expected:
        assert time.monotonic() < deadline, f"{len(found)} workers instead of {expected}"
        time.sleep(0.05)
    return found


def _works(process: psutil.Process) -> bool:
    try:
        return "al_loop.tools.workers.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return False
