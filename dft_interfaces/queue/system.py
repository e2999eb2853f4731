"""Submit jobs to a queue, list them, and find out how one ended. pysqa provides the commands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pysqa import QueueAdapter

from dft_interfaces.errors import QueueError
from dft_interfaces.foreign import reading
from dft_interfaces.label import Failure
from dft_interfaces.queue.command import run_command
from dft_interfaces.settings import JobSettings

_FAILURES = {
    "CANCELLED": Failure.CANCELLED,
    "PREEMPTED": Failure.CANCELLED,
    "REVOKED": Failure.CANCELLED,
    "TIMEOUT": Failure.TIME,
    "DEADLINE": Failure.TIME,
    "OUT_OF_MEMORY": Failure.MEMORY,
    "COMPLETED": Failure.OUTPUT,
}


@dataclass(frozen=True)
class JobEnd:
    """How a job that left no result ended."""

    failure: Failure
    reason: str


class QueueSystem:
    """A queue as a pysqa folder describes it.

    Args:
        folder: with ``queue.yaml``.
        queue: one of its queues, its primary one by default.

    Raises:
        QueueError: the folder describes none.
    """

    def __init__(self, folder: Path, queue: str | None = None) -> None:
        with reading(lambda why: QueueError(f"{folder} holds no pysqa description of a queue ({why})")):
            self._adapter = QueueAdapter(directory=str(folder), execute_command=_run)
            self._is_slurm = self._adapter.config["queue_type"] == "SLURM"
            self.queue: str = queue or self._adapter.config["queue_primary"]

    def submit(self, job_name: str, folder: Path, command: str, cores: int, settings: JobSettings) -> int:
        """Submit a job that runs in a folder, and return its id in the queue.

        Its script receives the limits of the settings as ``run_time_max`` (s) and ``memory_max`` (GB).

        Raises:
            QueueError: the queue refused the job; contains the queue's own message.
        """
        limits = {
            "run_time_max": math.ceil(settings.time_s),
            "memory_max": None if settings.memory_GB is None else math.ceil(settings.memory_GB),
        }
        where = {"queue": self.queue, "job_name": job_name, "working_directory": str(folder)}
        with reading(lambda why: QueueError(f"the queue returned no id of the job {job_name} ({why})")):
            return int(self._adapter.submit_job(**where, cores=cores, command=command, **limits))

    def jobs(self) -> dict[int, str]:
        """Return id -> folder of all jobs that wait or run, with a single command.

        Raises:
            QueueError: the queue does not respond.
        """
        with reading(lambda why: QueueError(f"the queue's list of jobs cannot be read ({why})")):
            table = self._adapter.get_queue_status()
            folders = table["working_directory"] if "working_directory" in table else [""] * len(table)
            return {int(number): str(folder) for number, folder in zip(table["jobid"], folders, strict=True)}

    def end_of(self, queue_id: int) -> JobEnd:
        """Return how a job that is no longer in the queue ended."""
        state = self._slurm_state(queue_id) if self._is_slurm else ""
        reason = f"job {queue_id} of the queue ended as {state or 'unknown'} without a result"
        return JobEnd(_FAILURES.get(state, Failure.CRASH), reason)

    def _slurm_state(self, queue_id: int) -> str:
        """Return the state from the controller, which keeps it for some minutes, or from the accounting if any."""
        try:
            output = run_command(["scontrol", "show", "job", str(queue_id), "--oneliner"])
            return output.partition("JobState=")[2].split(" ", 1)[0]
        except QueueError:
            pass
        try:
            output = run_command(["sacct", "--jobs", str(queue_id), "-X", "-n", "-P", "--format=State"])
            return (output.split() or [""])[0]
        except QueueError:
            return ""


def _run(
    commands: Sequence[str] | str,
    working_directory: str | None = None,
    split_output: bool = True,
    shell: bool = False,  # noqa: ARG001
    error_filename: str = "",  # noqa: ARG001
) -> list[str] | str:
    """Run a command for pysqa, whose own implementation returns None when the command fails."""
    output = run_command(commands.split() if isinstance(commands, str) else commands, working_directory)
    return output.split("\n") if split_output else output
