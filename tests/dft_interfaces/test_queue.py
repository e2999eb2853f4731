"""Tests without a queue: settings, limits, scripts, and the successors of a lost job."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dft_interfaces.errors import QueueError
from dft_interfaces.jobs.label_batch import LabelBatch
from dft_interfaces.jobs.queue_labels import QueuedJob
from dft_interfaces.label import Attempt, Failure, LabelStatus
from dft_interfaces.queue.command import run_command
from dft_interfaces.queue.folder import slurm_script
from dft_interfaces.queue.limits import UNLIMITED, disagreements, slurm_seconds
from dft_interfaces.queue.system import JobEnd
from dft_interfaces.queue.tracking import JobTracker, TrackedJob
from dft_interfaces.settings import ASECalculatorSettings, LimitSettings, QueueSettings, RetrySettings

ENGINE = ASECalculatorSettings(engine="ase", calculator="ase.calculators.emt.EMT", cores=4)
LOST = Attempt("queue job", LabelStatus.FAILED, Failure.CANCELLED)


def job(*requests: str) -> QueuedJob:
    batch = LabelBatch(
        folder=Path("results"),
        engine=ENGINE,
        limits=LimitSettings(),
        retry=RetrySettings(),
        requests={request_id: {} for request_id in requests},
    )
    return QueuedJob.of(batch, Path("jobs"))


def groups(jobs: list[QueuedJob]) -> list[list[str]]:
    return [list(one.batch.requests) for one in jobs]


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({}, "either partition"),
        ({"partition": "main", "queue_folder": "queues"}, "either partition"),
        ({"queue_folder": "queues", "options": ["--account=x"]}, "options belong in the job script"),
        ({"partition": "main", "queue": "fast"}, "queue_folder, which is missing"),
        ({"partition": "main", "commands": ["a\nb"]}, "one entry for each line"),
        ({"partition": "main", "options": ["--comment=a\rreboot"]}, "one entry for each line"),
        ({"partition": "main; rm"}, "partition"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], fragment: str) -> None:
    with pytest.raises(ValidationError, match=fragment):
        QueueSettings.model_validate(settings)


def test_a_job_must_have_room_for_a_calculation() -> None:
    queue = QueueSettings(partition="main", cores=2, time_s=3600, memory_GB=1)
    found = list(disagreements(queue, ENGINE, LimitSettings(time_s=7200, memory_GB=2)))
    assert [sentence.partition(":")[0] for sentence in found] == ["cores", "time_s", "memory_GB"]
    assert not list(disagreements(QueueSettings(partition="main"), ENGINE, LimitSettings()))


@pytest.mark.parametrize(
    ("yaml", "fragment"),
    [
        ("queue_primary: a\nqueues: {a: {script: a.sh, cores_max: 2}}", "cores: received 4, but queue a"),
        ("queue_primary: a\nqueues: {a: {script: a.sh, cores_min: 8}}", "cores: received 4, .* expects at least 8"),
        ("queue_primary: a\nqueues: {a: {script: a.sh, run_time_max: 600}}", "time_s: received 86400, .* at most 600"),
        ("queue_primary: a\nqueues: {a: {script: a.sh, memory_max: 2}}", "memory_GB: received 3, .* at most 2"),
        ("queue_primary: a\nqueues: {a: {script: a.sh, memory_max: 1024M}}", "memory_GB: received 3, .* at most 1"),
        ("queue_primary: a\nqueues: {a: {script: gone.sh}}", "the job script 'gone.sh' of queue a is not in"),
        ("queue_primary: b\nqueues: {a: {script: a.sh}}", "queue: received 'b', expected one of those in .*: a"),
        ("queues: [", "is no pysqa description"),
    ],
)
def test_the_limits_of_a_folder_are_reported_before_pysqa_lowers_the_request(
    tmp_path: Path, yaml: str, fragment: str
) -> None:
    (tmp_path / "queue.yaml").write_text(f"queue_type: SLURM\n{yaml}\n")
    (tmp_path / "a.sh").write_text("{{command}}")
    queue = QueueSettings(queue_folder=tmp_path, memory_GB=3)
    (found,) = disagreements(queue, ENGINE, LimitSettings(memory_GB=1))
    assert re.search(fragment, found)


def test_the_script_says_all_that_was_asked_for() -> None:
    queue = QueueSettings(
        partition="main", time_s=90, memory_GB=1.5, options=("--comment={{x}}",), commands=("module load intel",)
    )
    script = slurm_script(queue)
    for line in ("--partition=main", "--time=2", "--mem=1536M", "--no-requeue", "--nodes=1"):
        assert f"#SBATCH {line}" in script
    assert script.index("{% raw %}module load intel{% endraw %}") < script.index("exec {{command}}")
    assert "{% raw %}#SBATCH --comment={{x}}{% endraw %}" in script


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("02:00:00", 7200), ("1-00:00:30", 86430), ("30:00", 1800), ("UNLIMITED", UNLIMITED), ("INFINITE", UNLIMITED)],
)
def test_times_as_slurm_writes_them(text: str, seconds: float) -> None:
    assert slurm_seconds(text) == seconds


def test_a_job_that_had_finished_something_was_lost_in_the_next_request() -> None:
    rest = ["b", "c"]
    lost = job("a", "b", "c").with_loss(rest, LOST)
    assert lost.attempts == {"b": (LOST,)}
    successors = list(lost.successors(rest, RetrySettings(delay_s=5), 100.0))
    assert groups(successors) == [["b"], ["c"]]
    assert [one.not_before for one in successors] == [105.0, 105.0]
    assert len({one.name for one in [lost, *successors]}) == 3


def test_a_request_that_kills_its_jobs_is_given_up_and_the_others_are_not() -> None:
    waiting, jobs, done = [job("a", "bad", "c", "d")], 0, set()
    retry = RetrySettings(tries=3, delay_s=0)
    while waiting:
        one, jobs = waiting.pop(0), jobs + 1
        rest = list(one.batch.requests)
        while rest and rest[0] != "bad":
            done.add(rest.pop(0))
        if rest:
            waiting += one.with_loss(rest, LOST).successors(rest, retry, 0.0)
    assert done == {"a", "c", "d"}
    assert jobs == 4


def test_jobs_that_never_begin_are_given_up_after_a_bounded_number() -> None:
    waiting, jobs = [job(*"abcdefgh")], 0
    while waiting:
        one, jobs = waiting.pop(0), jobs + 1
        rest = list(one.batch.requests)
        waiting += one.with_loss(rest, LOST).successors(rest, RetrySettings(tries=3, delay_s=0), 0.0)
    assert jobs <= 10


def test_pauses_grow() -> None:
    lost = job("a").with_loss(["a"], LOST).with_loss(["a"], LOST)
    (successor,) = lost.successors(["a"], RetrySettings(delay_s=5, delay_factor=4), 0.0)
    assert successor.not_before == 20.0


class Queue:
    """A queue of which a test decides what it lists and accepts."""

    def __init__(self) -> None:
        self.listed: dict[int, str] = {}
        self.responds = self.accepts = True

    def jobs(self) -> dict[int, str]:
        if not self.responds:
            raise QueueError("no response")
        return self.listed

    def end_of(self, queue_id: int) -> JobEnd:
        return JobEnd(Failure.TIME, f"job {queue_id} ended as TIMEOUT")

    def submit(self, one: TrackedJob) -> int:
        if not (self.accepts and self.responds):
            raise QueueError("no such node")
        self.listed[len(self.listed) + 1] = str(one.folder)
        return len(self.listed)


class Tracked:
    """A tracker of a queue, the ends it reported, and the jobs whose results are there."""

    def __init__(self, folder: Path, queue: Queue) -> None:
        self.queue, self.ends, self.complete = queue, [], set()
        self.tracker = JobTracker(
            TrackedJob,
            folder / "in_flight",
            queue,
            poll_s=0.0,
            start=queue.submit,
            is_complete=lambda one: one.name in self.complete,
            ended=self.ended,
        )

    def ended(self, one: TrackedJob, end: JobEnd | None) -> list[TrackedJob]:
        self.ends.append((one.name, end and end.failure))
        return []


ONE = TrackedJob(name="one", folder=Path("place"))


def test_a_job_is_followed_to_its_results_or_its_loss(tmp_path: Path) -> None:
    tracked = Tracked(tmp_path, Queue())
    for name in ("one", "other"):
        tracked.tracker.add(ONE.model_copy(update={"name": name, "folder": tmp_path / name}))
    tracked.tracker.submit()
    assert [one.queue_id for one in tracked.tracker.jobs.values()] == [1, 2]
    tracked.tracker.poll()
    assert tracked.ends == []
    tracked.queue.listed.clear()
    tracked.complete.add("one")
    tracked.tracker.poll()
    assert tracked.ends == [("one", None)]  # the results of the other may still appear
    tracked.tracker.poll()
    assert tracked.ends[1:] == [("other", Failure.TIME)]
    assert list((tmp_path / "in_flight").iterdir()) == []


def test_a_job_is_found_again_by_its_folder_and_not_submitted_twice(tmp_path: Path) -> None:
    queue = Queue()
    Tracked(tmp_path, queue).tracker.add(ONE.model_copy())
    queue.listed = {11: "elsewhere", 12: "place"}
    restarted = Tracked(tmp_path, queue).tracker
    restarted.submit()
    assert restarted.jobs["one"].queue_id == Tracked(tmp_path, queue).tracker.jobs["one"].queue_id == 12
    assert len(queue.listed) == 2


def test_a_silent_queue_costs_no_job_and_a_refusal_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracked = Tracked(tmp_path, Queue())
    tracked.queue.responds = False
    tracked.tracker.add(ONE.model_copy())
    tracked.tracker.submit()
    tracked.tracker.poll()
    assert caplog.text.count("no response; trying again in 0 s") == 2
    assert tracked.ends == []
    tracked.queue.responds, tracked.queue.accepts = True, False
    tracked.tracker.poll()
    assert tracked.ends == [("one", Failure.CRASH)]


def test_a_record_that_cannot_be_read_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracked = Tracked(tmp_path, Queue())
    tracked.tracker.add(ONE.model_copy())
    assert Tracked(tmp_path, Queue()).tracker.jobs == {"one": ONE}
    path = tmp_path / "in_flight" / "one.json"
    path.write_text(path.read_text()[:20])
    assert Tracked(tmp_path, Queue()).tracker.jobs == {}
    assert str(path) in caplog.text


def test_no_job_inherits_the_uri_of_the_database(monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://user:password@host")
    monkeypatch.setenv("KEPT", "yes")
    shown = run_command(["env"])
    assert "KEPT=yes" in shown
    assert "MONGODB_URI" not in shown
