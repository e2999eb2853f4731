"""What counts as a change of settings between two runs."""

import copy

import pytest

from al_loop.config import Config
from al_loop.tools.preflight.starting import Change, changes

SETTINGS = {
    "name": "test",
    "folder": "runs/test",
    "foundation": {"kind": "sevennet"},
    "systems": [{"file": "a.xyz", "name": "a"}, {"file": "b.xyz", "name": "b", "ensemble": "npt"}],
    "explore": {"temperatures_K": [300]},
    "label": {"engine": {"engine": "ase", "calculator": "x.Y", "arguments": {"a": 1}}},
    "train": {"epochs": 50},
}


def told(edit, **settings):
    """In words, what differs between a stored configuration that was edited and one that is read now."""
    stored = Config.model_validate(copy.deepcopy(SETTINGS)).model_dump(mode="json")
    edit(stored)
    config = Config.model_validate({**copy.deepcopy(SETTINGS), **settings})
    return [str(change) for change in changes(stored, config.model_dump(mode="json"))]


def test_the_same_settings():
    assert told(lambda stored: None) == []


def test_settings_of_another_engine_and_unset_ones_are_told_with_nothing():
    assert told(lambda stored: stored["systems"][1].pop("ensemble")) == ["systems[1].ensemble (was nothing, is npt)"]
    assert told(lambda stored: stored["label"]["engine"].update(basis="def2-svp")) == [
        "label.engine.basis (was def2-svp, is nothing)"
    ]


def test_other_values_are_told_with_both():
    assert told(lambda stored: None, train={"epochs": 60, "loss": "huber"}) == [
        "train.epochs (was 50, is 60)",
        "train.loss (was squared, is huber)",
    ]
    assert told(lambda stored: None, systems=SETTINGS["systems"][:1]) == ["systems"]
    assert told(lambda stored: None, explore={"temperatures_K": [300, 400]}) == ["explore.temperatures_K"]
    assert told(lambda stored: stored["label"].update(queue={"x": 1})) == ["label.queue"]


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("stop", True),
        ("stop.labels", True),
        ("stops", False),
        ("label.engine.cores", True),
        ("label.engine", False),
        ("train.adapt", True),
        ("train.adaptation.method", False),
    ],
)
def test_what_may_change(key: str, allowed: bool) -> None:
    assert Change(key, 1, 2).allowed is allowed
