"""The limits of a Slurm partition, as Slurm reports them."""

import re

from dft_interfaces.errors import QueueError
from dft_interfaces.foreign import reading
from dft_interfaces.queue.command import run_command
from dft_interfaces.queue.limits import UNLIMITED, QueueLimits


def partition_limits(partition: str) -> QueueLimits:
    """Return the limits of one job of a partition: its time, and the cores and memory of its largest node.

    Raises:
        QueueError: Slurm does not respond, or has no such partition.
    """
    try:
        output = run_command(["scontrol", "show", "partition", partition, "--oneliner"])
    except QueueError as error:
        known = sorted(set(run_command(["sinfo", "--noheader", "--format=%R"]).split()))
        if partition in known:
            raise
        raise QueueError(f"received the partition {partition!r}, expected one of {', '.join(known)}") from error
    with reading(lambda why: QueueError(f"Slurm's output about the partition {partition!r} cannot be read ({why})")):
        return _limits(partition, output)


def _limits(partition: str, output: str) -> QueueLimits:
    fields = dict(field.split("=", 1) for field in output.split() if "=" in field)
    nodes = [
        line.split("|") for line in run_command(["sinfo", "-h", "-N", "-p", partition, "--format=%c|%m"]).splitlines()
    ]
    cores = max((int(cores) for cores, _ in nodes), default=0)
    memory_MB = max((float(memory) for _, memory in nodes), default=0.0)
    return QueueLimits(
        f"partition {partition}",
        cores=min(cores, _number(fields.get("MaxCPUsPerNode"))),
        time_s=slurm_seconds(fields.get("MaxTime", "UNLIMITED")),
        memory_GB=min(memory_MB, _number(fields.get("MaxMemPerNode"))) / 1024,
    )


def slurm_seconds(text: str) -> float:
    """Return seconds from Slurm's ``days-hours:minutes:seconds``, with or without its larger parts."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return UNLIMITED
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((24 * days + hours) * 60 + minutes) * 60 + seconds)


def _number(text: str | None) -> float:
    return float(text) if text is not None and text.isdigit() else UNLIMITED
