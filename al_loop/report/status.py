"""How far a campaign is, and its report: reading only."""

import fcntl
from pathlib import Path
from typing import Any

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.ledger import Ledger
from al_loop.ledger.identity import campaign_folder, existing_campaign
from al_loop.ledger.import_log import unfinished_imports
from al_loop.report.round_json import REPORT_STAGE, Progress, as_dict, open_round, reports_in
from al_loop.stages.evaluate.stopping import stopped_early
from al_loop.stages.label.quarantine import QUARANTINED
from al_loop.utils.campaign_folder import RUNNING_NAME


def campaign_status(config: Config) -> dict[str, Any]:
    """Return the JSON of ``al-loop status --json``.

    Returns:
        ``campaign``, ``folder``, ``state`` (``finished``, ``running`` or ``stopped``), ``stopped_early`` (which
        criterion of ``stop`` ended it before its last round, or None), ``rounds`` (finished rounds, see
        ``round_json.as_dict``), ``in_progress`` (the open round, its finished stages and its frames without a
        label to train on, see ``quarantined_as_dict``; or None) and ``unfinished_imports`` (files of which the campaign
        may hold a part only).

    Raises:
        InputError: no campaign was ever started in the config's folder.
    """
    with existing_campaign(config, read_only=True) as ledger:
        progress = ledger.progress(REPORT_STAGE)
        in_progress = _in_progress(ledger, progress)
        unfinished = [one.as_dict() for one in unfinished_imports(ledger)]
    reports = reports_in(progress)
    folder = campaign_folder(config)
    early = stopped_early(config, reports)
    stopped = "finished" if len(reports) >= config.rounds or early else "stopped"
    return {
        "campaign": config.name,
        "folder": str(folder),
        "state": "running" if is_running(folder) else stopped,
        "rounds_asked_for": config.rounds,
        "stopped_early": early or None,
        "rounds": [as_dict(report) for report in reports],
        "in_progress": in_progress,
        "unfinished_imports": unfinished,
    }


def write_campaign_report(config: Config) -> Path:
    """Write the report of a campaign into its folder.

    Raises:
        InputError: no campaign was ever started in the config's folder.
    """
    from al_loop.report.page import gather, write_report  # draws: matplotlib, which a status does without

    folder = campaign_folder(config)
    with existing_campaign(config, read_only=True) as ledger:
        data = gather(ledger, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)  # the campaign may have run on another machine
        return write_report(data, folder)
    except OSError as error:
        raise InputError(f"the report cannot be written to {folder} ({error.strerror}); make it writable") from error


def is_running(folder: Path) -> bool:
    """Whether a process runs the campaign of a folder; its own lock is not touched by asking."""
    try:
        with (folder / RUNNING_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _in_progress(ledger: Ledger, progress: Progress) -> dict[str, Any] | None:
    unfinished = open_round(progress)
    if unfinished is None:
        return None
    round_, stages = unfinished
    quarantined = [event.data for event in ledger.events(QUARANTINED, round_)]
    return {"round": round_, "stages_done": stages, "quarantined": quarantined}
