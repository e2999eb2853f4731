"""Limits of a queue; pysqa would silently lower a request to them, and Slurm would let the job wait forever."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dft_interfaces.errors import QueueError
from dft_interfaces.foreign import reading
from dft_interfaces.queue.command import run_command
from dft_interfaces.settings import EngineSettings, JobSettings, LimitSettings, QueueSettings

UNLIMITED = float("inf")
_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True)
class QueueLimits:
    """The most that one job may request, on one node, of a queue such as ``partition main``."""

    queue: str
    cores: float = UNLIMITED
    time_s: float = UNLIMITED
    memory_GB: float = UNLIMITED


def job_cores(settings: QueueSettings, engine: EngineSettings) -> int:
    """Return the cores of one job."""
    return settings.cores or engine.cores


def disagreements(settings: QueueSettings, engine: EngineSettings, limits: LimitSettings) -> Iterator[str]:
    """Yield the contradictions between settings, as ``key: sentence``."""
    if settings.cores is not None and settings.cores < engine.cores:
        yield f"cores: received {settings.cores}, must be at least the engine's cores ({engine.cores})"
    if limits.time_s > settings.time_s:
        yield (
            f"time_s: received {settings.time_s:g}, must be at least the time limit of one calculation"
            f" (label.limits.time_s, {limits.time_s:g}): raise it, or lower that"
        )
    if None not in (limits.memory_GB, settings.memory_GB) and limits.memory_GB > settings.memory_GB:  # type: ignore[operator]
        yield (
            f"memory_GB: received {settings.memory_GB:g}, must be at least the memory limit of one calculation"
            f" (label.limits.memory_GB, {limits.memory_GB:g})"
        )
    yield from folder_problems(settings, job_cores(settings, engine))


def excesses(settings: JobSettings, cores: int, allowed: QueueLimits) -> Iterator[str]:
    """Yield the requests of a job on this number of cores that exceed the limits, as ``key: sentence``."""
    requested = {"cores": cores, "time_s": settings.time_s, "memory_GB": settings.memory_GB}
    for key, value in requested.items():
        most = getattr(allowed, key)
        if value is not None and value > most:
            yield f"{key}: received {value:g}, but {allowed.queue} allows at most {most:g}; lower it"


def folder_problems(settings: JobSettings, cores: int) -> Iterator[str]:
    """Yield the faults of a user's own queue folder for a job on this number of cores, as ``key: sentence``."""
    folder = settings.queue_folder
    if folder is None:
        return
    path = folder / "queue.yaml"
    try:
        with reading(lambda why: QueueError(f"{path} is no pysqa description of a queue ({why})")):
            found = list(_problems(path, settings, cores))
    except QueueError as error:
        yield f"queue_folder: {error}; it needs queue_type, queue_primary and queues, with numbers as limits"
    else:
        yield from found


def _problems(path: Path, settings: JobSettings, cores: int) -> Iterator[str]:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    queues: dict[str, Any] = data["queues"]
    name = settings.queue or data["queue_primary"]
    if name not in queues:
        yield f"queue: received {name!r}, expected one of those in {path}: {', '.join(sorted(queues))}"
        return
    block = queues[name]
    if not (path.parent / str(block.get("script"))).is_file():
        yield f"queue_folder: the job script {block.get('script')!r} of queue {name} is not in {path.parent}"
    allowed = QueueLimits(
        f"queue {name} in {path}",
        cores=_or_unlimited(block.get("cores_max")),
        time_s=_or_unlimited(block.get("run_time_max")),
        memory_GB=_memory_GB(block.get("memory_max")),
    )
    yield from excesses(settings, cores, allowed)
    least = block.get("cores_min")
    if least is not None and cores < float(least):
        yield f"cores: received {cores}, but {allowed.queue} expects at least {least}; raise it"


def _or_unlimited(value: float | None) -> float:
    return UNLIMITED if value is None else float(value)


def _memory_GB(value: float | str | None) -> float:
    """Read pysqa's memory: numbers are GB, texts such as 4000M carry their unit (M if they have none)."""
    if not isinstance(value, str):
        return _or_unlimited(value)
    unit = value[-1].lower() if value[-1].isalpha() else "m"
    return float(value.rstrip("kKmMgGtTbB")) * _BYTES.get(unit, 1) / _BYTES["g"]


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
