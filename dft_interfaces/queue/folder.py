"""The pysqa folder of a queue: ``queue.yaml`` and the script of a job, inside the campaign's folder."""

import math
import shlex
import sys
from pathlib import Path

import yaml

from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.settings import JobSettings

QUEUE_NAME = "labels"
OUTPUT_NAME = "job.out"


def prepare_queue_folder(folder: Path, settings: JobSettings) -> None:
    """Make a queue's folder; a user's own is linked there."""
    if folder.is_symlink():
        folder.unlink()
    if settings.queue_folder is not None:
        folder.symlink_to(settings.queue_folder.resolve(), target_is_directory=True)
        return
    folder.mkdir(exist_ok=True)
    write_whole(folder / "labels.sh", slurm_script(settings))
    queues = {QUEUE_NAME: {"script": "labels.sh"}}
    queue = {"queue_type": "SLURM", "queue_primary": QUEUE_NAME, "queues": queues}
    write_whole(folder / "queue.yaml", yaml.safe_dump(queue))


def slurm_script(settings: JobSettings) -> str:
    """Return the jinja2 template of a job's script.

    The values are written out, since pysqa would silently lower them to a queue's limits. Slurm does not requeue jobs:
    the worker records why each one ended and retries it a bounded number of times.
    """
    options = ["--nodes=1", f"--time={math.ceil(settings.time_s / 60)}", "--no-requeue", *settings.options]
    if settings.memory_GB is not None:
        options.append(f"--mem={math.ceil(1024 * settings.memory_GB)}M")
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name={{job_name}}",
        "#SBATCH --chdir={{working_directory}}",
        f"#SBATCH --output={OUTPUT_NAME}",
        f"#SBATCH --partition={settings.partition}",
        "#SBATCH --ntasks={{cores}}",
        *(_literal(f"#SBATCH {option}") for option in options),
        *(_literal(command) for command in settings.commands),
        "exec {{command}}",
    ]
    return "\n".join(lines) + "\n"


def program_command(module: str, folder: Path) -> str:
    """Return the command of a job, a module with its folder, by this environment's interpreter for any PATH."""
    return shlex.join([sys.executable, "-m", module, str(folder)])


def _literal(line: str) -> str:
    """Protect braces in the user's own lines from jinja2."""
    return "{% raw %}" + line + "{% endraw %}"
