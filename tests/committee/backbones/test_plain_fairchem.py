"""An adapted fairchem model as fairchem's own checkpoint, opened where our packages cannot be imported."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from committee import CommitteePotential, FairchemSettings, load_backbone
from committee.backbones.fairchem import FairchemBackbone
from committee.errors import CheckpointError
from committee.export import export_plain
from committee.model.reference_shifts import ReferenceShifts

DISTILLED = Path(__file__).parents[2] / "data" / "distilled" / "distilled.pt"
SHIFTS = ReferenceShifts({11: -4321.5, 17: 20.25})
MERGED = "InferenceSettings(merge_mole=True, activation_checkpointing=False)"
FAST = {
    "merged dense": ("dense_checkpoint", MERGED),
    "merged experts": ("experts_checkpoint", MERGED),
    "fast pytorch dense": ("dense_checkpoint", MERGED.replace("merge_mole=True", "execution_mode='umas_fast_pytorch'")),
    "fast pytorch experts": ("experts_checkpoint", MERGED.replace(")", ", execution_mode='umas_fast_pytorch')")),
}
COMPILED = {"high precision": "'high-precision'", "default": "'default'"}

Evaluate = Callable[[str, list[Atoms]], list[tuple[float, Any, Any]]]
Perturb = Callable[[Any], Any]


def load(path: Path, task: str) -> FairchemBackbone:
    backbone = load_backbone(FairchemSettings(kind="fairchem", model=str(path), task_name=task))
    assert isinstance(backbone, FairchemBackbone)
    return backbone


def frames_of(task: str) -> list[Atoms]:
    frames = []
    for seed in range(2):
        atoms = molecule("CH3Cl") if task == "omol" else bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info = {"charge": -1, "spin": 2} if task == "omol" else {}
        frames.append(atoms)
    return frames


def opening(path: Path, settings: str, task: str) -> str:
    return (
        "from fairchem.core import FAIRChemCalculator\n"
        "from fairchem.core.units.mlip_unit import InferenceSettings, load_predict_unit\n"
        f"unit = load_predict_unit({str(path)!r}, {settings}, device='cpu')\n"
        f"calculator = FAIRChemCalculator(unit, task_name={task!r})"
    )


def assert_ours(backbone: FairchemBackbone, shifts: ReferenceShifts, results: Any, frames: list[Atoms]) -> None:
    for atoms, (energy, forces, stress) in zip(frames, results, strict=True):
        evaluation = backbone.evaluate([atoms])
        expected, tensor = evaluation.foundation()
        assert energy == pytest.approx(evaluation.energy.item() + shifts.total_eV(atoms.numbers), rel=1e-6, abs=1e-5)
        np.testing.assert_allclose(forces, expected.numpy(), rtol=1e-6, atol=1e-5)
        if stress is not None:
            voigt = tensor[0].numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            np.testing.assert_allclose(stress, voigt, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("checkpoint", "task"), [("distilled", "omat"), ("dense_checkpoint", "omol"), ("experts_checkpoint", "omol")]
)
def test_it_opens_with_nothing_of_ours(
    checkpoint: str,
    task: str,
    request: pytest.FixtureRequest,
    perturbed: Perturb,
    evaluated_without_us: Evaluate,
    tmp_path: Path,
) -> None:
    path = DISTILLED if checkpoint == "distilled" else request.getfixturevalue(checkpoint)
    foundation = load(path, task)
    adapted = perturbed(foundation)
    frames = frames_of(task)
    moved = adapted.evaluate(frames).energy - foundation.evaluate(frames).energy
    assert moved.abs().min() > 1e-3
    written = export_plain(adapted, tmp_path / "plain.pt", shifts=SHIFTS)
    assert_ours(adapted, SHIFTS, evaluated_without_us(written.opening, frames), frames)


@pytest.mark.parametrize(("checkpoint", "settings"), FAST.values(), ids=FAST)
def test_fast_settings(
    checkpoint: str,
    settings: str,
    request: pytest.FixtureRequest,
    perturbed: Perturb,
    tmp_path: Path,
) -> None:
    adapted = perturbed(load(request.getfixturevalue(checkpoint), "omat"))
    written = export_plain(adapted, tmp_path / "plain.pt", shifts=SHIFTS)
    assert_ours(
        adapted, SHIFTS, evaluated_here(opening(written.path, settings, "omat"), frames_of("omat")), frames_of("omat")
    )


def evaluated_here(lines: str, frames: list[Atoms]) -> list[tuple[float, Any, Any]]:
    names: dict[str, Any] = {}
    exec(lines, names)  # noqa: S102 - the lines above
    results = []
    for atoms in frames:
        atoms.calc = names["calculator"]
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
    return results


@pytest.mark.long
@pytest.mark.parametrize("settings", COMPILED.values(), ids=COMPILED)
def test_compiled_settings(settings: str, perturbed: Perturb, evaluated_without_us: Evaluate, tmp_path: Path) -> None:
    adapted = perturbed(load(DISTILLED, "omat"))
    written = export_plain(adapted, tmp_path / "plain.pt", shifts=SHIFTS)
    frames = frames_of("omat")
    assert_ours(adapted, SHIFTS, evaluated_without_us(opening(written.path, settings, "omat"), frames), frames)


def test_without_adaptation_it_is_the_foundation_with_its_tasks(dense_checkpoint: Path, tmp_path: Path) -> None:
    written = export_plain(load(dense_checkpoint, "omat"), tmp_path / "plain.pt")
    before, after = (torch.load(path, weights_only=False) for path in (dense_checkpoint, written.path))
    assert [task["name"] for task in after.tasks_config] == [task["name"] for task in before.tasks_config]
    assert before.ema_state_dict.keys() == after.ema_state_dict.keys()
    for name, tensor in before.ema_state_dict.items():
        assert name == "n_averaged" or torch.equal(tensor, after.ema_state_dict[name])
    for task in ("omat", "omol"):
        energies = [load(path, task).evaluate(frames_of(task)).energy for path in (dense_checkpoint, written.path)]
        torch.testing.assert_close(*energies, rtol=0, atol=0)


def test_shifts_concern_one_task_only(dense_checkpoint: Path, perturbed: Perturb, tmp_path: Path) -> None:
    adapted = perturbed(load(dense_checkpoint, "omat"))
    written = export_plain(adapted, tmp_path / "plain.pt", shifts=SHIFTS)
    frames = frames_of("omol")
    same_weights = load(dense_checkpoint, "omol").with_weights(adapted.changed_weights)
    torch.testing.assert_close(
        load(written.path, "omol").evaluate(frames).energy, same_weights.evaluate(frames).energy, rtol=0, atol=0
    )


def test_what_is_known_of_the_model_stands_in_the_file(
    dense_checkpoint: Path, perturbed: Perturb, tmp_path: Path
) -> None:
    adapted = perturbed(load(dense_checkpoint, "omat"))
    written = export_plain(adapted, tmp_path / "plain.pt", shifts=SHIFTS, about={"difference": {"frames": 3}})
    about = torch.load(written.path, weights_only=False).about
    assert about["foundation_fingerprint"] == load(dense_checkpoint, "omat").fingerprint
    assert about["fingerprint"] == adapted.fingerprint
    assert about["reference_shifts_eV"] == {"11": -4321.5, "17": 20.25}
    assert about["difference"] == {"frames": 3}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 kB: writing fails as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk(dense_checkpoint: Path, tmp_path: Path, full_disk: None) -> None:
    backbone = load(dense_checkpoint, "omat")
    (tmp_path / "plain.pt").write_text("earlier")
    with pytest.raises(CheckpointError, match=r"plain\.pt cannot be written \(File too large\)"):
        export_plain(backbone, tmp_path / "plain.pt")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("plain.pt", "earlier")]


def test_weights_that_changed(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(make_checkpoint("one").read_bytes())
    backbone = load(path, "omat")
    path.write_bytes(make_checkpoint("two", seed=2).read_bytes())
    with pytest.raises(CheckpointError, match="have changed"):
        export_plain(backbone, tmp_path / "plain.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.pt"]


def test_a_committee_on_an_adapted_foundation_is_exported_with_its_weights(
    dense_checkpoint: Path, perturbed: Perturb, tmp_path: Path
) -> None:
    from committee.export import export_fairchem

    adapted = perturbed(load(dense_checkpoint, "omat"))
    export_fairchem(CommitteePotential.untrained(adapted), tmp_path / "committee.pt")
    frames = frames_of("omat")
    energies = load(tmp_path / "committee.pt", "omat").evaluate(frames).energy
    torch.testing.assert_close(energies, adapted.evaluate(frames).energy, rtol=1e-6, atol=1e-5)
