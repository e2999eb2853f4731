"""Exploration and training through a real Slurm: the same bits as in place, whatever ends the campaign or a job."""

import json
import shutil
from dataclasses import replace

import pytest
from slurm import reason_to_skip, running_slurm, wait_until

from al_loop.errors import CampaignError
from al_loop.stages.queue_job import IN_FLIGHT, StageJob
from al_loop.stages.queue_tasks import DONE, TASK, step_folder
from dft_interfaces.settings import StageQueueSettings

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip())),
]

QUEUE = {"partition": "main", "time_s": 3600, "poll_s": 0.3, "tries": 3}


@pytest.fixture(scope="module")
def slurm():
    with running_slurm() as running:
        yield running


@pytest.fixture(autouse=True)
def reachable(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("PATH", slurm.environment["PATH"])


def outcome(folder):
    """Everything that exploration and training wrote, by its place."""
    files = [*folder.glob("trajectories/*/*/*.extxyz"), *folder.glob("models/*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def steps(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in (folder / "queued").glob(f"*/{DONE}")}


def running_explorations(slurm):
    lines = slurm.command("squeue", "-h", "-t", "RUNNING", "-o", "%A|%j").splitlines()
    return [line.split("|")[0] for line in lines if line.split("|")[1].startswith("explore")]


def test_killed_campaigns_and_cancelled_jobs_end_with_the_bits_of_one_in_place(slurm, small_campaign, tmp_path):
    here = small_campaign()
    here.run()
    expected = outcome(here.folder)
    explore = {"temperatures_K": [600], "timestep_fs": 2.0, "steps": 30, "check_every": 5, "replicas": 2}
    blocks = {"explore": {**explore, "queue": QUEUE}, "train": {"epochs": 60, "queue": QUEUE}}
    there = replace(small_campaign(folder=str(tmp_path / "there"), **blocks), folder=tmp_path / "there")

    first = there.start()
    wait_until(lambda: running_explorations(slurm))
    slurm.command("scancel", *running_explorations(slurm))  # the campaign hands it over again
    wait_until(
        lambda: "CANCELLED" in str([p.read_text() for p in (there.folder / "queued").glob(f"*/{IN_FLIGHT}/*.json")])
    )
    wait_until(lambda: running_explorations(slurm))
    first.kill()
    first.wait()
    there.kill_in("train", delay_s=1.0)
    there.finish()

    assert outcome(there.folder) == expected
    names = [line.split("|")[1] for line in slurm.command("squeue", "-h", "-t", "all", "-o", "%A|%j").splitlines()]
    explorations = [step for step in steps(there.folder) if step.startswith("explore")]
    assert sum(name.startswith("explore") for name in names) == len(explorations) + 1
    assert sum(name.startswith("train") for name in names) == 1
    shutil.rmtree(there.folder / "models")  # a model that was lost comes back from the job's own
    assert json.dumps(steps(there.folder)).count("true") == 1
    there.finish()


def test_a_step_that_is_lost_every_time_is_named_and_may_be_tried_again(tmp_path):
    folder = step_folder(tmp_path, "explore", "no task at all")
    job = StageJob(folder, "explore-copper", StageQueueSettings(**{**QUEUE, "tries": 2}), cores=1)
    with pytest.raises(CampaignError, match=r"explore-copper: 2 jobs were lost .*FAILED(.|\n)*ValidationError"):
        job.wait()
    assert not (folder / IN_FLIGHT).exists()
    assert (folder / TASK).read_text() == "no task at all"


def test_what_the_queue_refuses_is_told_in_its_own_words(tmp_path):
    folder = step_folder(tmp_path, "explore", "{}")
    settings = StageQueueSettings(**{**QUEUE, "options": ["--nodelist=no-such-node"], "tries": 2})
    with pytest.raises(CampaignError, match=r"2 jobs were lost.*nvalid node name"):
        StageJob(folder, "explore-copper", settings, cores=1).wait()
