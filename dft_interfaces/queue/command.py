"""The commands of a queue."""

import os
import subprocess
from collections.abc import Sequence

from dft_interfaces.errors import QueueError
from dft_interfaces.foreign import reason_of

TIMEOUT_S = 60.0
SECRET = ("MONGODB_URI",)


def run_command(arguments: Sequence[str], folder: str | None = None) -> str:
    """Run a command of the queue and return its output.

    Raises:
        QueueError: it failed, is missing or does not respond.
    """
    line = " ".join(arguments)
    try:
        done = subprocess.run(
            arguments,
            cwd=folder,
            env=without_credentials(),
            capture_output=True,
            text=True,
            errors="replace",  # the output contains names chosen by other users
            check=True,
            timeout=TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise QueueError(
            f"the queue's command {arguments[0]} is not on this machine's PATH; start the campaign where jobs are "
            "submitted"
        ) from error
    except OSError as error:
        raise QueueError(f"the queue's command {arguments[0]} could not be started ({reason_of(error)})") from error
    except subprocess.TimeoutExpired as error:
        raise QueueError(f"the queue did not respond to {line!r} within {TIMEOUT_S:g} s") from error
    except subprocess.CalledProcessError as error:
        output = (error.stderr or error.stdout).strip()
        raise QueueError(f"the queue refused {line!r} (exit code {error.returncode}): {output}") from error
    return done.stdout


def without_credentials() -> dict[str, str]:
    """Return the environment without passwords: queues store the environment of each job on disk."""
    return {name: value for name, value in os.environ.items() if name not in SECRET}
