"""Resources that a calculation needs from this machine or a queue, and a check that they have them."""

import os

from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from dft_interfaces.errors import QueueError
from dft_interfaces.queue.limits import excesses, job_cores, partition_limits
from dft_interfaces.settings import JobSettings


def label_cores(label: LabelSettings) -> int:
    """Number of cores that a calculation occupies."""
    return (label.queue and label.queue.cores) or label.engine.cores


def machine_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting_workers(label: LabelSettings) -> int:
    """Return the number of workers to start, limited by the cores of the machine.

    With a queue there is one, which submits all calculations. With ``workers: 0`` there are none: remote workers label.
    """
    if label.workers == 0:
        return 0
    if label.queue is not None:
        return 1
    return max(1, min(label.workers, machine_cores() // label.engine.cores))


def check_resources(label: LabelSettings) -> None:
    """Check that this machine, or the queue, has the resources that the configuration requires for a calculation.

    Raises:
        InputError: it has not, or the queue does not respond.
    """
    if label.workers == 0:
        return
    if label.queue is None:
        if label.engine.cores > machine_cores():
            raise InputError(
                f"label.engine.cores: received {label.engine.cores}, but this machine gives {machine_cores()}; lower "
                "it, or calculate through label.queue"
            )
        return
    check_partition("label.queue", label.queue, job_cores(label.queue, label.engine))


def check_stage_queues(config: Config) -> None:
    """Check that the queues of exploration and training have the resources that the configuration requires.

    Raises:
        InputError: they have not, or do not respond.
    """
    for name, queue in (("explore.queue", config.explore.queue), ("train.queue", config.train.queue)):
        if queue is not None:
            check_partition(name, queue, queue.cores or config.threads)


def check_partition(dotted: str, queue: JobSettings, cores: int) -> None:
    """Compare a job with the limits of its partition; queues without one are checked with their folder.

    Raises:
        InputError: it exceeds them, or the queue does not respond.
    """
    if queue.partition is None:
        return
    try:
        allowed = partition_limits(queue.partition)
    except QueueError as error:
        raise InputError(f"{dotted}: {error}") from error
    beyond = [f"{dotted}.{sentence}" for sentence in excesses(queue, cores, allowed)]
    if beyond:
        raise InputError("\n".join(beyond))
