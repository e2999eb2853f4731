"""Stages show what they do, and the log keeps it."""

import io
import json
import logging
import resource
from pathlib import Path

import pytest
from event_lines import read_events
from rich.console import Console

from al_loop.utils.event_log import EventLog
from al_loop.utils.progress import LoggedProgress, Progress, RichProgress, SilentProgress, terminal_progress


def work(progress: Progress) -> None:
    with progress.stage("explore", total=3, unit="frames") as advance:
        advance(1)
        advance(2)


def test_bars_show_name_count_and_unit() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=100)
    with RichProgress(console).stage("explore", total=3, unit="frames") as advance:
        advance(2)
    text = output.getvalue()
    for part in ("explore", "2/3", "frames"):
        assert part in text


def test_bars_may_be_nested_and_used_again() -> None:
    output = io.StringIO()
    progress = RichProgress(Console(file=output, force_terminal=True, width=100))
    with progress.stage("label", total=2) as advance:
        work(progress)
        advance(2)
    work(progress)
    assert "2/2" in output.getvalue()


def test_bars_end_when_a_stage_fails() -> None:
    output = io.StringIO()
    progress = RichProgress(Console(file=output, force_terminal=True, width=100))
    with pytest.raises(ZeroDivisionError), progress.stage("train", total=None):
        raise ZeroDivisionError
    size = len(output.getvalue())
    work(progress)
    assert len(output.getvalue()) > size


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    work(SilentProgress())
    assert capsys.readouterr() == ("", "")


def test_no_bars_where_nobody_looks() -> None:
    assert isinstance(terminal_progress(quiet=True), SilentProgress)
    assert isinstance(terminal_progress(), SilentProgress)  # pytest's standard error is no terminal


def test_the_log_has_a_line_for_start_and_end(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    work(LoggedProgress(SilentProgress(), log))
    started, ended = read_events(log.path)
    assert started["event"] == "stage_started"
    assert started["time"].endswith("+00:00")
    assert ended["event"] == "stage_ended"
    assert (ended["stage"], ended["done"], ended["unit"], ended["outcome"]) == ("explore", 3, "frames", "done")
    assert ended["seconds"] >= 0


def test_the_log_says_how_a_stage_failed(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match="broken"), LoggedProgress(SilentProgress(), log).stage("train"):
        raise ValueError("broken")
    assert read_events(log.path)[-1]["outcome"] == "ValueError: broken"
    with pytest.raises(KeyboardInterrupt), LoggedProgress(SilentProgress(), log).stage("train"):
        raise KeyboardInterrupt
    assert read_events(log.path)[-1]["outcome"] == "interrupted"


def test_events_are_appended_as_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    EventLog(path).write("first", reason="two\nlines, Å", path=tmp_path)
    EventLog(path).write("second")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["first", "second"]
    assert json.loads(lines[0])["path"] == str(tmp_path)


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.write("first")
    with log.path.open("a") as file:
        file.write('{"time": "2026')
    assert [event["event"] for event in read_events(log.path)] == ["first"]


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.write("first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size, limits[1]))  # stands in for a full disk
    try:
        with caplog.at_level(logging.WARNING, "al_loop"):
            work(LoggedProgress(SilentProgress(), log))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caplog.records) == 1
    assert "cannot write the log" in caplog.text
    assert [event["event"] for event in read_events(log.path)] == ["first"]


def test_a_folder_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(tmp_path / "gone" / "log.jsonl")
    log.write("first")
    log.write("second")
    assert len(caplog.records) == 1
    assert not (tmp_path / "gone").exists()
