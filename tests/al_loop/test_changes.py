"""What counts as a change of settings between two runs, also of different releases."""

import copy

import pytest

from al_loop.campaign import MAY_CHANGE
from al_loop.config import Config
from al_loop.config.changes import changes

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
    chosen = config.model_dump(mode="json", exclude_defaults=True)
    return [str(change) for change in changes(stored, config.model_dump(mode="json"), chosen)]


def test_the_same_settings():
    assert told(lambda stored: None) == []


@pytest.mark.parametrize(
    "forget",
    [
        lambda stored: stored["select"].pop("near_duplicate_distance"),
        lambda stored: stored.pop("promote"),
        lambda stored: stored["systems"][0].pop("ensemble"),
        lambda stored: stored["label"]["limits"].clear(),
        lambda stored: stored["label"].pop("retry"),
        lambda stored: stored["label"]["engine"].pop("cores"),
    ],
)
def test_a_setting_that_an_earlier_release_did_not_have_is_no_change_at_its_default(forget):
    assert told(forget) == []


def test_a_setting_that_an_earlier_release_did_not_have_counts_where_it_is_set():
    assert told(lambda stored: stored["train"].pop("epochs")) == ["train.epochs (was not set, is 50)"]
    assert told(lambda stored: stored.pop("train")) == ["train.epochs (was not set, is 50)"]
    assert told(lambda stored: stored["systems"][1].pop("ensemble")) == ["systems[1].ensemble (was not set, is npt)"]
    assert told(lambda stored: stored["label"]["engine"].pop("arguments")) == ["label.engine.arguments.a"]


def test_a_setting_that_a_release_removed_is_named():
    def older(stored):
        stored["select"]["wishes"] = 3
        stored["label"]["engine"]["arguments"]["b"] = 2
        stored["magic"] = {"on": True}

    assert told(older) == [
        "label.engine.arguments.b",
        "magic (was {'on': True}, unknown to this release)",
        "select.wishes (was 3, unknown to this release)",
    ]


def test_other_values_are_told_with_both():
    assert told(lambda stored: None, train={"epochs": 60, "loss": "huber"}) == [
        "train.epochs (was 50, is 60)",
        "train.loss (was squared, is huber)",
    ]
    assert told(lambda stored: None, systems=SETTINGS["systems"][:1]) == ["systems"]
    assert told(lambda stored: None, explore={"temperatures_K": [300, 400]}) == ["explore.temperatures_K"]
    assert told(lambda stored: stored["label"].update(queue={"x": 1})) == ["label.queue"]


def test_the_distance_of_an_earlier_releases_probe_frames_does_not_stop_a_campaign():
    """The default was 9.0 once; the stored probe frames and their answers are the same."""
    found = told(lambda stored: stored["promote"].update(far_latent_distance=9.0))
    assert len(found) == 1
    assert found[0].startswith("promote.far_latent_distance")
    assert found[0].startswith(MAY_CHANGE)
