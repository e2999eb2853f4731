"""A stored checkpoint opens with the same numbers, and the shape does not change without a new version.

If the shape test fails: raise ``SCHEMA_VERSION`` once a version was released, and write the example's folder again with
``write_example`` below.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from committee.checkpoint import DESCRIPTION, SCHEMA_VERSION, TENSORS, load, save
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores

EXAMPLE = Path(__file__).parent / "checkpoints" / f"version-{SCHEMA_VERSION}"
EXPECTED = "expected.json"


def write_example(backbone: Any, frames: Any, folder: Path, cache_folder: Path) -> None:
    """A small trained and calibrated committee, and its predictions."""
    trained = train(
        backbone,
        frames[:3],
        committee=CommitteeSettings(members=2, hidden_channels=3),
        training=TrainingSettings(epochs=3),
        cache_folder=cache_folder,
        seed=0,
    )
    sigmas = [np.linspace(0.01, 0.1, 4) * (i + 1) for i in range(12)]
    calibration = Calibration.fit([2 * s for s in sigmas], sigmas, sigmas, tolerance_eV_per_A=0.2)
    conditions = ["methanol/300K"] * 6 + ["methanol/600K"] * 6
    scores = CalibrationScores.of(calibration, sigmas, sigmas, conditions)
    potential = trained.with_calibration(calibration, scores)
    save(potential, folder)
    (prediction,) = potential.predict([frames[3].atoms], "exact")
    expected = {
        "energy": prediction.energy,
        "forces": prediction.forces.tolist(),
        "forces_uncertainty": prediction.forces_uncertainty.tolist(),
    }
    (folder / EXPECTED).write_text(json.dumps(expected))


def test_a_stored_checkpoint_opens_with_its_numbers(backbone: Any, make_methanol: Any) -> None:
    potential = load(EXAMPLE, backbone)
    assert potential.calibration is not None
    assert potential.provenance.training_frames == 3
    (prediction,) = potential.predict([make_methanol(3)], "exact")
    for name, value in json.loads((EXAMPLE / EXPECTED).read_text()).items():
        np.testing.assert_allclose(getattr(prediction, name), value, rtol=0, atol=1e-6)


def test_the_shape_is_that_of_its_version(backbone: Any, make_frames: Any, make_methanol: Any, tmp_path: Path) -> None:
    write_example(backbone, make_frames([make_methanol(i) for i in range(4)]), tmp_path / "model", tmp_path / "cache")
    assert shape(tmp_path / "model") == shape(EXAMPLE)


def shape(folder: Path) -> dict[str, Any]:
    """Keys and types of the description; names, types and sizes of the tensors."""
    tensors = load_file(folder / TENSORS)
    return {
        "description": _kinds(json.loads((folder / DESCRIPTION).read_text())),
        "tensors": {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()},
    }


def _kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kinds(item) for key, item in value.items()}
    return type(value).__name__
