"""What the report derives beside its figures: models, audits, costs, validation tables."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from al_loop.ledger import ModelRecord
from al_loop.report.page import ReportData
from al_loop.report.scatter import calibration_curve, stress_parity
from al_loop.report.selected_frames import audit_errors, for_viewer
from al_loop.report.tables import element_errors, lineage
from al_loop.report.validation import validation_tables


def test_each_model_says_what_became_of_it(report_data: ReportData) -> None:
    models = [ModelRecord(c * 16, i, "p", "x", {}, i if c in "bd" else None) for i, c in enumerate("abcd")]
    rounds = [dataclasses.replace(report_data.rounds[0], round=i) for i in range(4)]
    assert [model.fate for model in lineage(models, rounds)] == [
        "rejected; the foundation stays",
        "promoted in round 1, replaced in round 3",
        "rejected; the model of round 1 stays",
        "promoted in round 3, served now",
    ]
    assert lineage(models[:1], [])[0].fate == "not evaluated yet"


def test_the_audit_counts_labelled_frames_that_were_drawn_for_it(report_data: ReportData) -> None:
    waiting = dataclasses.replace(report_data.chosen[1], label=None, round=2)
    (error,) = audit_errors([*report_data.chosen, waiting])
    assert (error.round, error.frames, error.foundation, error.served) == (1, 1, 0.75, 0.25)


def test_the_viewer_holds_bounded_frames_that_json_can_say(report_data: ReportData) -> None:
    many = [dataclasses.replace(report_data.chosen[0], round=r) for r in range(200)]
    shown = for_viewer(many)
    assert [frame["round"] for frame in shown] == list(range(199, 139, -1))
    assert set(shown[0]["sigma"]) == {None}
    json.dumps(shown, allow_nan=False)
    huge = dataclasses.replace(many[0], atoms=Atoms("H7000", np.zeros((7000, 3))), uncertainty=np.zeros(7000))
    assert len(for_viewer([huge, huge, huge])) == 1


def test_errors_are_split_by_element(report_data: ReportData) -> None:
    arrays = {**report_data.evaluation, "role": np.zeros(2), "frame_index": np.array([0, 0, 1])}
    arrays |= {"atomic_numbers": np.array([8, 1, 1]), "forces_dft": np.zeros((3, 3))}
    arrays |= {"forces_foundation": np.full((3, 3), 2.0), "forces_served": np.array([[1.0] * 3, [0.5] * 3, [0.25] * 3])}
    hydrogen, oxygen = element_errors(arrays)
    assert (hydrogen.symbol, hydrogen.atoms, hydrogen.frames, hydrogen.served) == ("H", 2, 2, 0.375)
    assert (oxygen.symbol, oxygen.atoms, oxygen.foundation, oxygen.served) == ("O", 1, 2.0, 1.0)


def test_nothing_is_plotted_where_there_is_no_stress_or_no_uncertainty(report_data: ReportData) -> None:
    arrays = dict(report_data.evaluation)
    assert stress_parity({**arrays, "stress_dft": np.full((30, 6), np.nan)}) is None
    assert calibration_curve({**arrays, "uncertainty": np.full(30, np.nan)}) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"checks": [{"name": "a0", "passed": true}, {"name": "B", "model": 1.25}]}', ["a0", "yes", "B", "1.25"]),
        ('{"model": "m", "deep": {"er": {"x": null}}}', ["m", "–"]),
        ("[1, 2]", ["[1, 2]"]),
        ("no json", ["Expecting value"]),
        ("[" * 100_000, [""]),
    ],
)
def test_any_validation_file_is_shown_or_refused_in_words(text: str, words: list[str], tmp_path: Path) -> None:
    assert validation_tables(tmp_path) == []
    (tmp_path / "validation.json").write_text(text)
    tables = validation_tables(tmp_path)
    shown = " ".join(cell for table in tables for row in table.rows for cell in row)
    assert tables
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert all(word in shown for word in words)
