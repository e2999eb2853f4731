"""Readers of a running campaign do not disturb it, and never read a partial state."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from al_loop.config import Config, StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import open_ledger
from al_loop.report.status import campaign_status, is_running
from al_loop.utils.campaign_folder import locked_folder

ROUNDS = 60
REPORT: dict[str, Any] = {
    "frames": 0, "labels": 0, "labels_held_out": 0, "labels_failed": 0, "verdicts": {}, "verdicts_by_check": {},
    "held_out": None, "never_trained": {}, "coverage": None, "coverage_frames": 0, "guarantee": {},
    "promoted": False, "promotion_reason": "", "seconds": {},
}  # fmt: skip


def config(folder: Path, store: StoreSettings) -> Config:
    return Config.model_validate(
        {
            "name": "copper",
            "folder": folder,
            "rounds": ROUNDS + 1,
            "foundation": {"kind": "sevennet", "model": "7net-0"},
            "systems": [{"file": Path(__file__).parents[2] / "configs" / "structures" / "silicon.cif"}],
            "explore": {"temperatures_K": [300.0]},
            "label": {"engine": {"engine": "gpaw"}},
            "store": store,
        }
    )


def check_running(folder: Path, done: threading.Event) -> None:
    while not done.is_set():
        is_running(folder)


def test_checks_whether_it_runs_never_keep_it_from_running(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    done = threading.Event()
    checkers = [threading.Thread(target=check_running, args=(tmp_path, done)) for _ in range(3)]
    for asker in checkers:
        asker.start()
    try:
        for _ in range(200):
            with locked_folder(tmp_path):
                pass
    finally:
        done.set()
        for asker in checkers:
            asker.join()
    with locked_folder(tmp_path):
        assert is_running(tmp_path)
        with pytest.raises(InputError, match="already running"), locked_folder(tmp_path):
            pass
    assert not is_running(tmp_path)


def test_each_round_is_open_or_finished_for_who_reads_meanwhile(store: StoreSettings, tmp_path: Path) -> None:
    campaign = config(tmp_path, store)
    done = threading.Event()
    with open_ledger(store, tmp_path, "copper") as ledger:
        ledger.start_campaign({})
        ledger.finish_stage(0, "explore", 1.0, {})

        def run() -> None:
            for round_ in range(ROUNDS):
                ledger.finish_stage(round_, "train", 1.0, {})
                ledger.finish_stage(round_, "report", 1.0, {**REPORT, "round": round_})
                ledger.finish_stage(round_ + 1, "explore", 1.0, {})
                time.sleep(0.01)
            done.set()

        writer = threading.Thread(target=run)
        writer.start()
        seen = []
        while not done.is_set():
            found = campaign_status(campaign)
            rounds = [report["round"] for report in found["rounds"]]
            open_round = found["in_progress"]
            assert rounds == list(range(len(rounds)))
            assert open_round is None or open_round["round"] == len(rounds)
            assert len(rounds) >= (seen[-1] if seen else 0)
            seen.append(len(rounds))
        writer.join()
    assert len(set(seen)) > 1
