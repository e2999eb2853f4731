"""Promotion and the end of a campaign in the report, on the terminal and in config errors."""

import dataclasses
import io
from datetime import UTC, datetime

import numpy as np
import pytest
import yaml
from ase.build import molecule
from matplotlib.colors import to_rgb
from PIL import Image
from rich.console import Console

from al_loop.cli.round_table import print_round
from al_loop.config import GateSettings
from al_loop.errors import InputError
from al_loop.ledger import EventRecord
from al_loop.records import LabelledSet, Role, TimeToSuspect
from al_loop.report.page import render_report
from al_loop.report.probability import probability_curve
from al_loop.report.style import ACCENT, SERVED
from al_loop.stages.evaluate.errors import calibrated_on, evaluate
from al_loop.stages.evaluate.stopping import STOPPED
from al_loop.tools.preflight.load_config import load_config

CRITERIA = [
    {"name": "held-back labels", "passed": True, "value": 0.8, "limit": 1.0, "sentence": "force MAE 0.0123 eV/Å"},
    {"name": "dimers repel", "passed": False, "value": 1.0, "limit": 0.0, "sentence": "C-O at 0.71 Å: -3.4 <eV>/Å"},
]


@pytest.fixture
def report_with_criteria(report):
    return dataclasses.replace(report, criteria=CRITERIA, time_to_suspect=TimeToSuspect(0.045, 4, 1, at_least=True))


def test_real_predictions_at_home_and_elsewhere_are_drawn(laboratory, foundation, good, held_back):
    """Calibrated on crystals rattled by 0.12 Å, shown with such ones and with crystals rattled by 0.3 Å."""
    tests = laboratory.frames(16, seed=21, role=Role.TEST)
    hot = [
        dataclasses.replace(frame, trajectory=f"hot/{i}")
        for i, frame in enumerate(laboratory.frames(8, seed=22, rattle_A=0.3, role=Role.TEST))
    ]
    gate = GateSettings(force_tolerance_eV_per_A=0.3)
    candidate = calibrated_on(good, LabelledSet(tuple(held_back)), foundation, gate)
    seen = evaluate([*held_back, *tests, *hot], candidate, frozenset())
    arrays = seen.arrays(candidate.calibration, candidate.calibration_scores.conditions)
    assert (arrays["home"] == np.repeat([True, False], [36, 8])).all()
    image = probability_curve(arrays, candidate.calibration)
    with Image.open(io.BytesIO(image)) as opened:
        drawn = np.asarray(opened.convert("RGB"), dtype=float) / 255
    for colour in (SERVED, ACCENT):  # marks of test frames, and of other conditions
        blended = 0.75 * np.array(to_rgb(colour)) + 0.25
        assert (np.abs(drawn - blended).max(axis=2) < 0.01).sum() > 100
    above = candidate.calibration.probability_above_tolerance(arrays["uncertainty"][~arrays["home"]])
    assert above.min() > 1 - candidate.calibration.confidence


def test_the_terminal_shows_every_criterion(report_with_criteria):
    output = io.StringIO()
    print_round(report_with_criteria, Console(file=output, width=120))
    text = output.getvalue()
    for part in ("held-back labels", "holds", "dimers repel", "fails", "-3.4 <eV>/Å"):
        assert part in text
    assert "after at least 0.045 ps (median of 4 trajectories, 1 never suspect)" in text


def test_the_report_shows_every_criterion(report_data, report_with_criteria):
    html = render_report(dataclasses.replace(report_data, rounds=[report_with_criteria]))
    assert '<td>dimers repel</td><td class="bad">fails</td><td class="message">C-O at 0.71 Å: -3.4 &lt;eV&gt;/Å' in html
    assert "<td>held-back labels</td><td>holds</td>" in html
    assert "at least 0.045 ps (median of 4 trajectories, 1 never suspect)" in html
    assert "Stopped early" not in html


def test_the_report_says_which_criterion_ended_the_campaign(report_data):
    def event(round_):
        return EventRecord(STOPPED, "the budget of stop.labels is used up", datetime(2026, 1, 1, tzinfo=UTC), round_)

    ended = render_report(dataclasses.replace(report_data, events=[event(report_data.rounds[-1].round)]))
    assert "Stopped early: the budget of stop.labels is used up." in ended
    went_on = render_report(dataclasses.replace(report_data, events=[event(0)]))
    assert "Stopped early" not in went_on


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"stop": {"labels": 0}}, ["stop.labels: received 0, must be at least 1", "Budget"]),
        ({"stop": {"labels": 32}}, ["stop.labels: received 32, but hold_out alone needs 32 labels", "raise it"]),
        ({"stop": {"label_core_hours": 0}}, ["stop.label_core_hours: received 0, must be above 0"]),
        ({"stop": {"trusted_fraction": 95}}, ["stop.trusted_fraction: received 95, must be at most 1"]),
        ({"stop": {"trusted": 0.9}}, ["stop.trusted: unknown key", "did you mean 'stop.trusted_fraction'?"]),
        ({"select": {"labels_per_round": 0}}, ["select.labels_per_round: received 0, must be at least 1"]),
        ({"promote": {"max_rise": 0}}, ["promote.max_rise: received 0, must be above 0"]),
        (
            {"explore": {"temperatures_K": [300], "ensemble": "relax"}, "stop": {"time_to_suspect_ps": 1}},
            ["stop.time_to_suspect_ps: explore.ensemble relax has no time"],
        ),
    ],
)
def test_a_budget_or_limit_that_makes_no_sense_is_refused(tmp_path, block, message):
    molecule("CH3OH").write(tmp_path / "methanol.xyz")
    config = {
        "name": "test",
        "folder": "runs/test",
        "foundation": {"kind": "sevennet"},
        "systems": [{"file": "methanol.xyz"}],
        "explore": {"temperatures_K": [300]},
        "label": {"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
        **block,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(InputError) as caught:
        load_config(path)
    for part in message:
        assert part in str(caught.value)
