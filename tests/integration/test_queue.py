"""Labels through a real Slurm: what is finished counts, what is lost is tried again, nothing is handed over twice."""

import json
import sys
from collections import Counter

import pytest
from label_workers import EMT, Workers, structure
from slurm import reason_to_skip, running_slurm, wait_until

from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.stages.label.resources import check_resources
from dft_interfaces.engines import build_engine
from dft_interfaces.jobs.result_files import finished_label
from dft_interfaces.label import Failure, LabelStatus

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip())),
]

QUEUE = {"partition": "main", "time_s": 3600, "poll_s": 0.3}
RETRY = {"tries": 2, "delay_s": 0.5}


@pytest.fixture(scope="module")
def slurm():
    with running_slurm() as running:
        yield running


@pytest.fixture
def workers(slurm, tmp_path):
    return Workers(tmp_path, **slurm.environment)


@pytest.fixture(scope="module", autouse=True)
def out_of_time(slurm, tmp_path_factory):
    """A label that needs longer than its job has, begun before all else: Slurm counts in minutes."""
    slow = Workers(tmp_path_factory.mktemp("slow"), **slurm.environment)
    with slow.start("Cu-9", settings=slow.counting(pause_s=300), queue={**QUEUE, "time_s": 60}) as process:
        yield slow, process
        process.kill()


def start(workers, *jobs, pause_s=0.0, **queue):
    settings = workers.counting(pause_s=pause_s)
    return workers.start(*jobs, settings=settings, queue={**QUEUE, **queue}, retry=RETRY)


def jobs_of(slurm, workers):
    """Return (id, state, requests) of the jobs that were handed over from a folder, whether they have ended or not."""
    paths = workers.folder.glob("workers/*/jobs/*/*/batch.json")
    batches = {str(path.parent): json.loads(path.read_text()) for path in paths}
    lines = [line.split("|") for line in slurm.command("squeue", "-h", "-t", "all", "-o", "%A|%T|%Z").splitlines()]
    return [(number, state, list(batches[place]["requests"])) for number, state, place in lines if place in batches]


def states(slurm, workers):
    return [state for _, state, _ in jobs_of(slurm, workers)]


def running(slurm, workers, request_id=""):
    """Return the ids of the jobs that run, of all of them or of the one with a request."""
    return [
        number
        for number, state, requests in jobs_of(slurm, workers)
        if state == "RUNNING" and (not request_id or request_id in requests)
    ]


def cancel(slurm, workers, request_id):
    """Cancel the job with a request as soon as it runs."""
    wait_until(lambda: running(slurm, workers, request_id))
    slurm.command("scancel", *running(slurm, workers, request_id))


def test_labels_through_slurm_are_those_of_the_engine(slurm, workers):
    labels = dict(workers.finished(workers.start("Cu-1", "Cu-2+Cu-3", settings=EMT, queue=QUEUE)))
    for request_id, label in labels.items():
        assert label.energy_eV == build_engine(EMT).label(structure(request_id)).energy_eV
        assert finished_label(workers.folder, request_id).energy_eV == label.energy_eV
    assert sorted(labels) == ["Cu-1", "Cu-2", "Cu-3"]
    assert states(slurm, workers) == ["COMPLETED"] * 2
    assert workers.jobs() == ["finished"] * 2
    scripts = [path.read_text() for path in workers.folder.glob("workers/*/jobs/*/*/run_queue.sh")]
    assert all(f"exec {sys.executable} -m" in script for script in scripts)
    assert list(workers.home.iterdir()) == list(workers.current.iterdir()) == []


def test_a_cancelled_job_loses_only_the_rest_and_the_others_go_on(slurm, workers):
    process = start(workers, "Cu-1+Cu-2+Cu-3", "Cu-4", pause_s=3.0)
    wait_until(lambda: finished_label(workers.folder, "Cu-1") is not None)
    cancel(slurm, workers, "Cu-2")
    labels = dict(workers.finished(process))
    assert {label.status for label in labels.values()} == {LabelStatus.CONVERGED}
    assert [attempt.failure for attempt in labels["Cu-2"].attempts] == [Failure.CANCELLED, None]
    assert "CANCELLED" in labels["Cu-2"].attempts[0].message
    assert labels["Cu-1"].attempts == labels["Cu-3"].attempts == labels["Cu-4"].attempts == ()
    assert workers.calculations() == 4
    assert len(jobs_of(slurm, workers)) == 4


def test_what_is_cancelled_every_time_is_given_up(slurm, workers):
    process = start(workers, "Cu-1", "Cu-2", pause_s=1.5)
    cancel(slurm, workers, "Cu-1")
    wait_until(lambda: not running(slurm, workers, "Cu-1"))
    cancel(slurm, workers, "Cu-1")
    labels = dict(workers.finished(process))
    given_up = labels.pop("Cu-1")
    assert given_up.status is LabelStatus.FAILED
    assert given_up.failure is Failure.CANCELLED
    assert len(given_up.attempts) == 2
    assert labels["Cu-2"].status is LabelStatus.CONVERGED


def test_a_worker_that_died_finds_its_jobs_again(slurm, workers):
    process = start(workers, "Cu-1", "Cu-2", pause_s=3.0)
    wait_until(lambda: len(running(slurm, workers)) == 2)
    process.kill()
    process.communicate()
    one, _ = sorted((workers.folder / "workers" / "worker" / "in_flight").glob("*.json"))
    note = json.loads(one.read_text())
    one.write_text(json.dumps({**note, "queue_id": None}))  # as if it had died before it heard of the id
    labels = workers.finish(start(workers, "Cu-1", "Cu-2", pause_s=3.0))
    assert [label.status for label in labels] == [LabelStatus.CONVERGED] * 2
    assert workers.calculations() == 2
    assert len(jobs_of(slurm, workers)) == 2


def test_jobs_wait_for_a_queue_that_does_not_answer(slurm, workers):
    slurm.stop_controller()
    process = start(workers, "Cu-1")
    assert any("trying again in 0.3 s" in line for line in process.stderr)
    slurm.start_controller()
    (label,) = workers.finish(process)
    assert (label.status, label.attempts) == (LabelStatus.CONVERGED, ())
    assert len(jobs_of(slurm, workers)) == 1


def test_what_the_queue_refuses_is_given_up_with_its_words(slurm, workers):
    process = start(workers, "Cu-1", options=["--nodelist=no-such-node"])
    (label,) = workers.finish(process)
    assert (label.status, label.failure, len(label.attempts)) == (LabelStatus.FAILED, Failure.CRASH, 2)
    assert "nvalid node name" in label.message
    assert jobs_of(slurm, workers) == []


def test_a_queue_folder_of_the_users_own(slurm, workers, tmp_path):
    folder = tmp_path / "queues"
    folder.mkdir()
    script = "#!/bin/bash\n#SBATCH -p main\n#SBATCH -D {{working_directory}}\n#SBATCH -n {{cores}}\n{{command}}\n"
    (folder / "mine.sh").write_text(script)
    (folder / "queue.yaml").write_text(
        "queue_type: SLURM\nqueue_primary: mine\nqueues: {mine: {script: mine.sh, cores_max: 2, run_time_max: 7200}}"
    )
    queue = {"queue_folder": folder, "time_s": 3600, "poll_s": 0.3}
    (label,) = workers.finish(workers.start("Cu-1", settings=EMT, queue=queue))
    assert label.status is LabelStatus.CONVERGED
    assert states(slurm, workers) == ["COMPLETED"]


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ({"time_s": 3 * 3600}, "time_s: received 10800, but partition main allows at most 7200"),
        ({"cores": 8}, "cores: received 8, but partition main allows at most 4"),
        ({"memory_GB": 2}, "memory_GB: received 2, but partition main allows at most 0.97"),
        ({"partition": "gpu"}, "received the partition 'gpu', expected one of main"),
    ],
)
def test_requests_above_the_limits_are_refused(slurm, monkeypatch, queue, words):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    label = LabelSettings.model_validate({"engine": EMT, "queue": {**QUEUE, **queue}})
    with pytest.raises(InputError, match=words):
        check_resources(label)


def test_a_campaign_that_is_killed_while_its_jobs_are_in_the_queue(slurm, small_campaign, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    arguments = {"count_file": str(small_campaign().count_file), "pause_s": 0.5}
    engine = {"engine": "ase", "calculator": "counting_emt.CountingEMT", "arguments": arguments}
    label = {"engine": engine, "queue": QUEUE, "limits": {"time_s": 60}, "labels_per_job": 3, "lease_s": 5}
    campaign = small_campaign(label=label)
    campaign.kill_in("label", delay_s=1.0, workers=True)
    campaign.finish()
    (report,) = campaign.status()["rounds"]
    assert (report["labels"], report["labels_held_out"]) == (5, 14)
    assert Counter(campaign.calculations().values()) == {1: 19}


def test_a_job_that_runs_out_of_time_is_a_failed_label(out_of_time):
    slow, process = out_of_time
    (label,) = slow.finish(process)
    assert label.status is LabelStatus.FAILED
    assert label.failure is Failure.TIME
    assert "TIMEOUT" in label.message


def test_a_node_that_goes_down(slurm, workers):
    process = start(workers, "Cu-1", "Cu-2+Cu-3", pause_s=2.0)
    wait_until(lambda: len(running(slurm, workers)) == 2)
    slurm.lose_node()
    slurm.start_node()
    labels = dict(workers.finished(process))
    assert {label.status for label in labels.values()} == {LabelStatus.CONVERGED}
    assert labels["Cu-1"].attempts[0].failure is Failure.CRASH
    assert "NODE_FAIL" in labels["Cu-1"].attempts[0].message
    assert workers.calculations() == 3
