"""Settings of a cluster's queue."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from dft_interfaces.settings.base import Settings


class JobSettings(Settings):
    """Resources of one job of a queue; the same keys for every step.

    Either name Slurm's ``partition``, and the job script is written for you, or give your own ``queue_folder``.
    The campaign's folder must be on a file system that the cluster's nodes see under the same path.
    """

    system: Literal["slurm"] = "slurm"
    """The queue for which job scripts are written. Others that pysqa supports work through ``queue_folder``."""
    partition: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+$")
    """Slurm's partition."""
    cores: int | None = Field(None, ge=1, le=100_000)
    """Cores of one job, on one node; those of the engine (label) or ``threads`` (explore, train) by default."""
    time_s: float = Field(24 * 3600.0, ge=60, le=366 * 86_400)
    """Wall time of one job, from a minute to a year."""
    memory_GB: float | None = Field(None, gt=0, le=1e6)
    """Memory of one job; the partition's default if not given."""
    options: tuple[str, ...] = ()
    """More options of sbatch, for example ``--account=chemistry`` or ``--gpus=1``."""
    commands: tuple[str, ...] = ()
    """Shell commands before the calculation, for example ``module load intel``."""
    queue_folder: Path | None = None
    """A pysqa folder (``queue.yaml`` and job scripts) as pyiron users have it, in place of ``partition``."""
    queue: str | None = None
    """Name of a queue in that folder; its ``queue_primary`` by default."""
    poll_s: float = Field(10.0, ge=0.01, le=3600)
    """Pause between two queries of the queue, one command each, an hour at most."""

    @model_validator(mode="after")
    def _one_way(self) -> "JobSettings":
        if (self.partition is None) == (self.queue_folder is None):
            raise ValueError("expected either partition (a job script is written for you) or queue_folder (your own)")
        script = [name for name in ("options", "commands") if getattr(self, name)]
        if self.queue_folder is not None and script:
            raise ValueError(f"{' and '.join(script)} belong in the job script of queue_folder; remove them here")
        if self.queue is not None and self.queue_folder is None:
            raise ValueError("queue names one of the queues in queue_folder, which is missing")
        broken = [line for line in (*self.options, *self.commands) if {"\n", "\r"} & set(line)]
        if broken:
            raise ValueError(f"received {broken[0]!r}, expected one entry for each line of the script")
        return self


class QueueSettings(JobSettings):
    """Labels are calculated by jobs of a queue instead of on this machine; all labels of a job fit in its time."""

    max_in_flight: int = Field(50, ge=1, le=100_000)
    """Jobs that wait or run at the same time."""


class StageQueueSettings(JobSettings):
    """A step of a round, exploration or training, runs as one job of a queue instead of in the campaign's process.

    A job that ends before its step is done is submitted again and continues from its last state.
    """

    tries: int = Field(5, ge=1, le=1000)
    """Jobs of one step, the first included: at least the step's run time divided by ``time_s``."""
