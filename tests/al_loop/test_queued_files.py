"""Tasks and results of steps in a queue carry checksums: what was damaged is done again, or said."""

import json
import sys
from pathlib import Path

import pytest

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.errors import CampaignError
from al_loop.stages import queue_program
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import (
    DONE,
    FAILED,
    TASK,
    ExploreTask,
    TaskFile,
    read_result,
    read_task,
    step_folder,
)
from committee import CommitteePotential, SevenNetSettings, load_backbone
from committee.checkpoint import save
from dft_interfaces.settings import StageQueueSettings


def damage(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_damaged_result_is_no_result_and_is_made_again(tmp_path: Path, monkeypatch, caplog) -> None:
    foundation = SevenNetSettings(kind="sevennet")
    save(CommitteePotential.untrained(load_backbone(foundation)), tmp_path / "model")
    task = ExploreTask(
        threads=1,
        foundation=foundation,
        model=tmp_path / "model",
        trajectories=tmp_path / "trajectories",
        starts=[],
        settings=ExploreSettings(temperatures_K=(300.0,)),
        physics=PhysicsSettings(),
    )
    folder = step_folder(tmp_path, "explore", TaskFile(task=task).model_dump_json())
    monkeypatch.setattr(sys, "argv", ["program", str(folder)])
    queue_program.main()
    whole = (folder / DONE).read_text()
    (folder / DONE).write_text(json.dumps({**json.loads(whole), "trained": True}))
    queue_program.main()  # of the job that takes over
    assert (folder / DONE).read_text() == whole
    assert "its job counts as one without a result" in caplog.text
    job = StageJob(folder, "explore", StageQueueSettings(partition="main"), cores=1)
    assert job.wait() == {}
    damage(folder / DONE, '"sha256": "', '"sha256": "0')
    assert read_result(folder / DONE) is None
    assert not (folder / DONE).exists()


def test_a_damaged_task_is_not_carried_out_and_is_written_anew(tmp_path: Path) -> None:
    text = json.dumps({"task": {"kind": "explore", "threads": 1}})
    folder = step_folder(tmp_path, "explore", text)
    assert read_task(folder) == text
    damage(folder / TASK, "1", "2")
    with pytest.raises(CampaignError, match=r"task\.json was damaged.*Run the same command again"):
        queue_program.run(folder)
    failed = read_result(folder / FAILED)
    assert failed is not None
    assert "was damaged" in failed["message"]
    assert step_folder(tmp_path, "explore", text) == folder
    assert read_task(folder) == text
