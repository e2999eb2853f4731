"""A round's report as JSON and back, and as a printout."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from al_loop.cli.round_table import print_round, print_status
from al_loop.errors import InputError
from al_loop.records import ErrorFigures, RoundReport
from al_loop.report.round_json import as_dict, from_dict, jsonable


def test_json_and_back(report: RoundReport) -> None:
    assert from_dict(json.loads(json.dumps(as_dict(report), allow_nan=False))) == report
    assert from_dict(dataclasses.asdict(report)) == report


def test_before_the_first_labels(report: RoundReport) -> None:
    early = dataclasses.replace(report, held_out=None, never_trained={}, coverage=None, coverage_frames=0)
    plain = as_dict(early)
    assert plain["force_mae_served"] is None
    assert plain["force_mae_foundation"] is None
    assert plain["coverage"] is None
    assert from_dict(plain) == early


def test_the_flat_keys(report: RoundReport) -> None:
    plain = as_dict(report)
    assert plain["force_mae_foundation"] == 0.25
    assert plain["force_mae_served"] == 0.031
    assert plain["verdicts"] == {"trusted": 60, "suspect": 50, "discard": 10}
    assert plain["seconds"]["label"] == 80.0
    assert {"round", "frames", "labels", "coverage", "coverage_frames"} <= plain.keys()


def test_numbers_that_are_not_finite_become_null_and_nan_again(report: RoundReport) -> None:
    diverged = dataclasses.replace(report, held_out=ErrorFigures(16, 0.25, math.nan, 0.01, math.inf))
    plain = as_dict(diverged)
    json.dumps(plain, allow_nan=False)
    assert plain["force_mae_served"] is None
    rebuilt = from_dict(plain).held_out
    assert rebuilt is not None
    assert math.isnan(rebuilt.force_mae_served)


def test_numpy_numbers_are_plain(report: RoundReport) -> None:
    plain = jsonable({"a": np.float32(0.5), "b": np.int64(3), "c": (np.bool_(True), np.nan), 4: np.array(2.0)})
    assert json.dumps(plain, allow_nan=False) == '{"a": 0.5, "b": 3, "c": [true, null], "4": 2.0}'


def test_what_is_no_report_is_refused(report: RoundReport) -> None:
    listed = {**as_dict(report), "held_out": [1]}
    for damaged in ({"frames": 1, "never_trained": {}}, listed, {"never_trained": 10**400}):
        with pytest.raises(InputError, match=r"a round's report cannot be read .*restore the ledger from a backup"):
            from_dict(damaged)


def printed(report: RoundReport) -> str:
    output = io.StringIO()
    print_round(report, Console(file=output, width=80))
    return output.getvalue()


def test_the_printout_says_everything(report: RoundReport) -> None:
    text = printed(report)
    facts = ("round 1", "120", "12 to train on", "1 quarantined", "94% of 16")
    for part in (*facts, "0.2500", "0.0310", "8.1x", "0.01230"):
        assert part in text
    for check in ("force uncertainty", "latent distance", "physics"):
        assert check in text
    for stage in ("explore 12.3", "label 80.0", "all 112.5"):
        assert stage in text
    assert "<script>" in text  # the molecule never trained on


def test_names_are_not_taken_for_markup(report: RoundReport) -> None:
    figures = next(iter(report.never_trained.values()))
    text = printed(dataclasses.replace(report, never_trained={"a[bold]b": figures}, promotion_reason="[/red] x"))
    assert "a[bold]b" in text
    assert "[/red] x" in text


def test_the_printout_before_the_first_labels(report: RoundReport) -> None:
    early = dataclasses.replace(report, held_out=None, never_trained={}, coverage=None, promoted=False)
    text = printed(early)
    assert "not enough labels yet" in text
    assert "error against DFT" not in text


def test_the_status_ends_with_that_no_frame_can_be_trusted(report: RoundReport) -> None:
    sentence = "no frame can be trusted at 90%: label more, or raise gate.force_tolerance_eV_per_A"
    blind = dataclasses.replace(report, guarantee={"text": sentence, "no_frame_trusted": True})
    status = {"campaign": "test", "folder": "run", "state": "finished", "rounds_asked_for": 1, "stopped_early": None}
    status |= {"in_progress": None, "unfinished_imports": []}
    shown = {}
    for name, last in (("blind", blind), ("usual", report)):
        output = io.StringIO()
        print_status({**status, "rounds": [as_dict(last)]}, Console(file=output, width=200))
        shown[name] = output.getvalue()
    assert f"the served model: {sentence}" in shown["blind"]
    assert "the served model:" not in shown["usual"]
