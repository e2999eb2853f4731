import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train
from committee.training.training_state import STATE

SETTINGS = TrainingSettings(epochs=70, validation_fraction=0.3, patience_epochs=1000)


class InterruptedTrainingError(Exception):
    """The exception of a user's Ctrl-C during training."""


def kill_at(epoch):
    def progress(done, total):
        if (done, total) == (epoch, SETTINGS.epochs):
            raise InterruptedTrainingError

    return progress


def fit(backbone, frames, folder, *, progress=None, training=SETTINGS, seed=0):
    committee = CommitteeSettings(members=3, hidden_channels=16)
    return train(
        backbone, frames, committee=committee, training=training, cache_folder=folder, seed=seed, progress=progress
    )


def same(one, two):
    pairs = zip(one.heads.state_dict().items(), two.heads.state_dict().values(), strict=True)
    return all(np.array_equal(a.numpy(), b.numpy()) for (_, a), b in pairs) and one.shifts == two.shifts


@pytest.fixture
def frames(make_frames, make_crystal, make_methanol):
    return make_frames([make_methanol(i) for i in range(4)] + [make_crystal(i) for i in range(4)])


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_an_interrupted_training_ends_with_the_same_bits(backbone, frames, tmp_path, fraction):
    training = SETTINGS.model_copy(update={"validation_fraction": fraction})
    whole = fit(backbone, frames, tmp_path / "whole", training=training)
    with pytest.raises(InterruptedTrainingError):
        fit(backbone, frames, tmp_path / "cut", progress=kill_at(60), training=training)
    assert (tmp_path / "cut" / STATE).is_file()
    epochs = []
    resumed = fit(backbone, frames, tmp_path / "cut", progress=lambda done, _: epochs.append(done), training=training)
    assert epochs == list(range(51, 71))
    assert same(whole, resumed)
    assert not (tmp_path / "cut" / STATE).exists()


def test_a_training_that_was_killed_goes_on(backbone, frames, tmp_path):
    """A real SIGKILL, in a process of its own."""
    script = textwrap.dedent(
        f"""
        import importlib.util, os, signal, sys
        from pathlib import Path
        spec = importlib.util.spec_from_file_location("analytic", {str(Path(__file__).with_name("conftest.py"))!r})
        analytic = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(analytic)
        from committee.settings import CommitteeSettings, TrainingSettings
        from committee.training.train import train

        structures = [analytic.methanol(i) for i in range(4)] + [analytic.crystal(i) for i in range(4)]
        train(
            analytic.AnalyticBackbone(),
            analytic.training_frames(structures),
            committee=CommitteeSettings(members=3, hidden_channels=16),
            training=TrainingSettings.model_validate_json({SETTINGS.model_dump_json()!r}),
            cache_folder=Path(sys.argv[1]),
            seed=0,
            progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if (done, total) == (40, 70) else None,
        )
        """
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "cut")], check=False, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    epochs = []
    resumed = fit(backbone, frames, tmp_path / "cut", progress=lambda done, _: epochs.append(done))
    assert epochs == list(range(26, 71))
    assert same(fit(backbone, frames, tmp_path / "whole"), resumed)


@pytest.mark.parametrize("change", ["seed", "settings", "data"])
def test_the_state_of_another_training_is_not_used(backbone, frames, tmp_path, change, caplog):
    with pytest.raises(InterruptedTrainingError):
        fit(backbone, frames, tmp_path, progress=kill_at(30))
    options = {
        "seed": {"seed": 1},
        "settings": {"training": SETTINGS.model_copy(update={"energy_weight": 5.0})},
        "data": {},
    }[change]
    epochs = []
    chosen = frames[1:] if change == "data" else frames
    with caplog.at_level(logging.INFO):
        fit(backbone, chosen, tmp_path, progress=lambda done, _: epochs.append(done), **options)
    assert "another training" in caplog.text
    assert epochs == list(range(1, 71))


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_a_damaged_state_is_not_used(backbone, frames, tmp_path, damage, caplog):
    with pytest.raises(InterruptedTrainingError):
        fit(backbone, frames, tmp_path, progress=kill_at(30))
    content = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes({"truncated": content[:-100], "empty": b"", "garbage": b"hello" * 50}[damage])
    epochs = []
    fit(backbone, frames, tmp_path, progress=lambda done, _: epochs.append(done))
    assert "cannot be read" in caplog.text
    assert epochs == list(range(1, 71))
