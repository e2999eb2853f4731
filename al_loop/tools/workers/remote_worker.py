"""A worker that the user starts on any machine, which only knows the campaign's database.

Two processes, as with the campaign's own workers: the one that the terminal talks to, and one in a session of its own
that calculates (``python -m al_loop.tools.workers.remote_worker``), whose settings come through standard input and
whose end is the end of standard input. So Ctrl-C never reaches a calculation, and no credential stands in the process
table.
"""

import os
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from al_loop.config.settings import LabelSettings, StoreSettings
from al_loop.errors import CampaignError, InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.records import WORKER
from al_loop.tools.workers.leases import LabelLeases
from al_loop.tools.workers.worker import (
    SINGLE_THREADED,
    close_input,
    configure_log,
    leave_at_end_of_input,
    runner_for,
    started,
    work,
)
from al_loop.utils.redaction import mask_uri
from al_loop.utils.versions import installed_versions
from committee.settings import Settings
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.jobs.pyiron_labels import LabelRunner

NAME_FILE: Final = "worker.name"
BAD_INPUT: Final = 2
ENDED: Final = -1  # whatever exit code a process has that was told to end in the middle of a calculation
GRACE_S: Final = 10.0


class RemoteWorker(Settings):
    """Settings of the calculating process."""

    campaign: str
    """Name of the campaign."""
    store: StoreSettings
    """Where its database is."""
    label: LabelSettings
    """The engine and its limits."""
    folder: Path
    """Scratch folder of this worker, on this machine."""
    name: str
    """The same after a restart, so that what was finished on disk is found again."""
    labels: int | None = Field(None, ge=1)
    """Leave after so many labels."""
    idle_s: float | None = Field(None, gt=0)
    """Leave after so long without a request to claim."""


def worker_name(folder: Path) -> str:
    """Return this folder's worker name, made up at its first start: no two folders have the same.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME_FILE
        if not path.is_file():
            host = "".join(c if c.isalnum() and c.isascii() else "_" for c in socket.gethostname())[:24]
            path.write_text(f"on_{host}_{uuid.uuid4().hex[:10]}", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"--folder: {folder} cannot be written ({error.strerror}); name another one") from error


def run_outside(settings: RemoteWorker) -> None:
    """Run the calculating process until it is done, or until Ctrl-C; a second Ctrl-C does not wait for the calculation.

    Raises:
        InputError: the calculating process refused, with its own message.
        CampaignError: it died.
        KeyboardInterrupt: it exited after Ctrl-C.
    """
    environment, module = {**os.environ, **SINGLE_THREADED}, "al_loop.tools.workers.remote_worker"
    process = started(module, settings=settings, env=environment)
    interrupted = False
    try:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
            _say("exiting after the current calculation; press Ctrl-C again to return its request and exit now")
            close_input(process)
            code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        code = ENDED
    if code == BAD_INPUT:
        raise InputError("the worker calculated nothing (see above)")
    if code != 0:
        _give_back(settings, count_attempt=not interrupted)
    if interrupted:
        raise KeyboardInterrupt
    if code != 0:
        raise CampaignError(f"the worker's process ended with exit code {code}; its request was returned to the queue")


def started_campaign(ledger: Ledger) -> dict[str, Any]:
    """Return the configuration that the campaign was started with.

    Raises:
        InputError: there is no such campaign.
    """
    stored = ledger.campaign_config()
    if stored is None:
        known = ", ".join(sorted(ledger.campaigns())) or "none"
        raise InputError(
            f"--campaign: the database has no campaign {ledger.campaign!r} that was started; it has: {known}"
        )
    return stored


def check_level(ledger: Ledger, stored: dict[str, Any], runner: LabelRunner) -> None:
    """Raise if the worker's level of theory differs from the campaign's.

    Raises:
        InputError: its level is another one.
    """
    level = stored.get("level_of_theory", {})
    if level.get("fingerprint", runner.level) == runner.level:
        return
    engine = runner.engine.model_dump(mode="json")
    there = stored.get("label", {}).get("engine", {})
    differing = [
        f"{key} {engine.get(key)!r} here, {there.get(key)!r} there"
        for key in sorted(engine.keys() | there.keys())
        if engine.get(key) != there.get(key) and key != "cores"
    ]
    raise InputError(
        f"--engine: this worker's engine calculates level of theory {runner.level}, and campaign {ledger.campaign} "
        f"needs {level['fingerprint']} ({level.get('summary', 'no summary')}); levels never mix. "
        f"{'Settings that differ: ' + '; '.join(differing) if differing else 'The settings are the same'}. Give the "
        "label.engine block of the campaign's config, with the same pseudopotentials and versions"
    )


def note_versions(ledger: Ledger, name: str) -> None:
    """Record the worker's software versions once; exported labels contain them."""
    versions = installed_versions()
    known = [event.data for event in ledger.events() if event.kind == WORKER]
    if not any(data.get("versions") == versions for data in known):
        ledger.event(WORKER, f"{name} calculates for this campaign", worker=name, versions=versions)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _give_back(settings: RemoteWorker, *, count_attempt: bool) -> None:
    with open_ledger(settings.store, settings.folder, settings.campaign) as ledger:
        ledger.release_dead(settings.name, count_attempt=count_attempt)


def _serve(settings: RemoteWorker, leave: threading.Event) -> None:
    label, name = settings.label, settings.name
    with open_ledger(settings.store, settings.folder, settings.campaign) as ledger:
        stored = started_campaign(ledger)  # before an engine is started
        with runner_for(label, settings.folder, name) as runner:
            check_level(ledger, stored, runner)
            note_versions(ledger, name)
            ledger.release_dead(name, count_attempt=label.queue is None)
            _say(f"{name} is ready for campaign {settings.campaign}: {runner.engine.engine}, level {runner.level}")
            with LabelLeases(ledger, name, runner.level, label.lease_s) as claims:
                done = work(claims, runner, label.labels_per_job, leave, settings.labels, settings.idle_s)
            _say(f"{name} has exited after {done} labels")


def _say(text: Any) -> None:
    sys.stderr.write(f"al-loop worker: {mask_uri(str(text))}\n")
    sys.stderr.flush()


def main() -> None:
    """Entry point of the calculating process."""
    configure_log()
    settings = RemoteWorker.model_validate_json(sys.stdin.buffer.readline())
    leave = threading.Event()
    leave_at_end_of_input(leave)
    try:
        _serve(settings, leave)
    except (InputError, DFTInterfaceError) as error:
        _say(error)
        sys.exit(BAD_INPUT)
    except CampaignError as error:
        _say(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
