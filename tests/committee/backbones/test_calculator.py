"""Closed foundations: real calculators under features of SevenNet."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.stress import voigt_6_to_full_3x3_stress

from committee import (
    CalculatorSettings,
    CommitteePotential,
    CommitteeSettings,
    SevenNetSettings,
    TrainingFrame,
    TrainingSettings,
    load,
    load_backbone,
    save,
    train,
)
from committee.backbones.calculator import CalculatorBackbone
from committee.errors import CheckpointError, FoundationError, FoundationEvaluationError, UnknownElementError
from committee.testing import check_backbone, example_frames
from committee.uncertainty.calibration import Calibration

CHGNET = "chgnet.model.dynamics.CHGNetCalculator"
TBLITE = "tblite.ase.TBLite"
EMT = "ase.calculators.emt.EMT"
EXACT_XTB = {"verbosity": 0, "accuracy": 1e-3}
SEVENNET = SevenNetSettings(kind="sevennet")


def settings(import_path: str, arguments: dict[str, Any] | None = None, **others: Any) -> CalculatorSettings:
    return CalculatorSettings(
        kind="calculator", import_path=import_path, arguments=arguments or {}, features=SEVENNET, **others
    )


@pytest.fixture(scope="module")
def chgnet() -> CalculatorBackbone:
    return load_backbone(settings(CHGNET, {"use_device": "cpu"}))


@pytest.fixture(scope="module")
def xtb() -> CalculatorBackbone:
    return load_backbone(settings(TBLITE, EXACT_XTB))


@pytest.fixture(scope="module")
def emt() -> CalculatorBackbone:
    return load_backbone(settings(EMT, elements=("Al", "Ni", "Cu")))


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def salt(seed: int) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64 * (1 + 0.02 * (seed % 3 - 1)), cubic=True)
    atoms.rattle(0.15, rng=np.random.default_rng(seed))
    return atoms


def methanol(seed: int) -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.06, rng=np.random.default_rng(seed))
    return atoms


def test_chgnet_keeps_the_contract(chgnet: CalculatorBackbone) -> None:
    """CHGNet supports crystals only, in float32, and its graph builder needs several atoms in the cell."""
    _, crystal, metal = example_frames(chgnet.elements)
    check_backbone(chgnet, [crystal.repeat((2, 1, 1)), metal], single_precision=True, periodic_only=True)


def test_xtb_keeps_the_contract(xtb: CalculatorBackbone) -> None:
    check_backbone(xtb, example_frames(xtb.elements)[:1])


def test_emt_keeps_the_contract(emt: CalculatorBackbone) -> None:
    alloy = bulk("Cu", cubic=True)
    alloy.numbers[0] = 28
    alloy.rattle(0.1, seed=1)
    check_backbone(emt, [alloy, bulk("Al", a=4.1)])


@pytest.mark.parametrize(("name", "make"), [("chgnet", salt), ("xtb", methanol)])
def test_untrained_it_is_the_calculator(name: str, make: Any, request: pytest.FixtureRequest) -> None:
    backbone = request.getfixturevalue(name)
    frames = [make(seed) for seed in range(2)]
    predictions = CommitteePotential.untrained(backbone).predict(frames, "exact", foundation=True)
    for atoms, prediction in zip(frames, predictions, strict=True):
        own = atoms.copy()
        own.calc = backbone._calculator
        assert prediction.energy == pytest.approx(own.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(prediction.forces, own.get_forces(), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(prediction.forces, prediction.foundation_forces)
        if atoms.pbc.all():
            np.testing.assert_allclose(prediction.stress, own.get_stress(), rtol=0, atol=1e-6)
        else:
            assert prediction.stress is None


@cache
def judge_of(model: str) -> CommitteePotential:
    return CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet", model=model)))


def labels(model: str, frames: list[Atoms], first: int = 0) -> list[TrainingFrame]:
    return [
        TrainingFrame(f"frame{first + i}", atoms, p.energy, p.forces, p.stress, group=f"group{first + i}")
        for i, (atoms, p) in enumerate(zip(frames, judge_of(model).predict(frames), strict=True))
    ]


def mae(potential: CommitteePotential, frames: list[TrainingFrame]) -> tuple[float, float]:
    """Force errors of the foundation and of the committee, eV/Å."""
    predictions = potential.predict([frame.atoms for frame in frames], foundation=True)
    pairs = [(p, frame.forces_eV_per_A) for p, frame in zip(predictions, frames, strict=True)]
    return (
        float(np.mean([np.abs(p.foundation_forces - forces).mean() for p, forces in pairs])),
        float(np.mean([np.abs(p.forces - forces).mean() for p, forces in pairs])),
    )


@pytest.fixture(scope="module")
def trained(chgnet: CalculatorBackbone, tmp_path_factory: pytest.TempPathFactory) -> CommitteePotential:
    return train(
        chgnet,
        labels("7net-l3i5", [salt(seed) for seed in range(8)]),
        committee=CommitteeSettings(members=4),
        training=TrainingSettings(epochs=200),
        cache_folder=tmp_path_factory.mktemp("tangents"),
        seed=1,
    )


def test_training_corrects_a_closed_foundation(trained: CommitteePotential) -> None:
    before, after = mae(trained, labels("7net-l3i5", [salt(seed) for seed in range(50, 54)], first=50))
    assert before > 0.03
    assert after < before / 2.5


def test_forces_and_stress_of_the_correction_are_its_derivatives(trained: CommitteePotential) -> None:
    """Check derivatives of the correction in float64; the calculator's float32 noise would mask them."""
    potential = CommitteePotential(
        trained.backbone.to(torch.float64),
        trained.settings,
        trained.heads,
        trained.latent,
        trained.shifts,
        trained.provenance,
    )
    atoms, rng, step = salt(60), np.random.default_rng(0), 1e-4
    direction, shear = rng.normal(size=(8, 3)), np.array([[0.3, 0.1, 0.0], [0.1, -0.2, 0.2], [0.0, 0.2, 0.5]])

    def added(frame: Atoms) -> Any:
        return potential.predict([frame], foundation=True)[0]

    def energy(frame: Atoms) -> float:
        prediction = added(frame)
        return prediction.energy - prediction.foundation_energy

    def moved(sign: int) -> Atoms:
        frame = atoms.copy()
        frame.positions += sign * step * direction
        return frame

    def strained(sign: int) -> Atoms:
        frame = atoms.copy()
        frame.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * shear), scale_atoms=True)
        return frame

    here = added(atoms)
    slope = (energy(moved(1)) - energy(moved(-1))) / (2 * step)
    assert -np.sum((here.forces - here.foundation_forces) * direction) == pytest.approx(slope, abs=1e-5)
    own_stress = potential.backbone.evaluate([atoms]).closed_stress[0].numpy()
    stress = voigt_6_to_full_3x3_stress(here.stress)
    work = atoms.get_volume() * np.sum((stress - own_stress) * shear)
    slope = (energy(strained(1)) - energy(strained(-1))) / (2 * step)
    assert work == pytest.approx(slope, abs=1e-5)


def test_every_mode_tells_the_same_mean(trained: CommitteePotential) -> None:
    frames = [salt(70)]
    energy, probe, exact = (trained.predict(frames, mode) for mode in ("energy", "probe", "exact"))
    many = trained.predict(frames, "probe", probes=100, seed=3)
    for a, b, c, averaged in zip(energy, probe, exact, many, strict=True):
        assert a.energy == pytest.approx(c.energy, abs=1e-6)
        np.testing.assert_allclose(a.forces, b.forces, rtol=0, atol=1e-5)
        np.testing.assert_allclose(a.forces, c.forces, rtol=0, atol=1e-5)
        np.testing.assert_allclose(c.forces_ensemble.mean(0), c.forces, rtol=0, atol=1e-5)
        np.testing.assert_allclose(c.stress_ensemble.mean(0), c.stress, rtol=0, atol=1e-6)
        np.testing.assert_allclose(averaged.forces_uncertainty, c.forces_uncertainty, rtol=0.4, atol=1e-5)


def test_checkpoint_needs_the_calculator_from_the_caller(
    trained: CommitteePotential, chgnet: CalculatorBackbone, xtb: CalculatorBackbone, tmp_path: Path
) -> None:
    save(trained, tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"calculator:chgnet.*pass it"):
        load(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"trained on calculator:chgnet.*received calculator:tblite"):
        load(tmp_path / "model", xtb)
    again = load(tmp_path / "model", load_backbone(settings(CHGNET, {"use_device": "cpu"})))
    (before,), (after,) = trained.predict([salt(80)], "exact"), again.predict([salt(80)], "exact")
    assert before.energy == pytest.approx(after.energy, abs=1e-5)
    np.testing.assert_allclose(before.forces_uncertainty, after.forces_uncertainty, rtol=1e-3, atol=1e-6)


def test_xtb_is_corrected_and_calibrated_on_molecules(xtb: CalculatorBackbone, tmp_path: Path) -> None:
    frames = labels("7net-0", [methanol(seed) for seed in range(14)])
    potential = train(
        xtb,
        frames,
        committee=CommitteeSettings(members=4),
        training=TrainingSettings(epochs=200),
        cache_folder=tmp_path,
        seed=1,
    )
    unseen = labels("7net-0", [methanol(seed) for seed in range(100, 112)], first=100)
    before, after = mae(potential, unseen)
    assert after < before / 2
    predictions = potential.predict([frame.atoms for frame in unseen], "exact")
    calibration = Calibration.fit(
        [np.linalg.norm(p.forces - f.forces_eV_per_A, axis=1) for p, f in zip(predictions, unseen, strict=True)],
        [p.atomic_force_uncertainty for p in predictions],
        [p.latent_distance for p in predictions],
        tolerance_eV_per_A=0.3,
        confidence=0.9,
    )
    assert np.isfinite(calibration.quantile)


def test_without_stress_nothing_is_said_or_trained_about_it(tmp_path: Path) -> None:
    """xTB without its stress: the labels' stress gets no weight."""
    backbone = load_backbone(settings(EMT))
    backbone._stressed = False
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, rng=np.random.default_rng(seed))
        frames.append(atoms)
    potential = train(
        backbone,
        labels("7net-0", frames),
        committee=CommitteeSettings(members=2),
        training=TrainingSettings(epochs=20, forces_weight=0, energy_weight=0, stress_weight=1),
        cache_folder=tmp_path,
        seed=1,
    )
    (prediction,) = potential.predict(frames[:1], "exact", foundation=True)
    assert prediction.stress is None
    assert prediction.stress_ensemble is None
    np.testing.assert_allclose(prediction.forces, prediction.foundation_forces, rtol=0, atol=1e-7)


def test_nested_arguments_are_built_first(tmp_path: Path) -> None:
    """As in Matlantis PFP: a calculator with an estimator built from plain values and an enumeration member."""
    import chgnet

    weights = next(Path(chgnet.__file__).parent.glob("pretrained/0.3.0/*.tar"))
    nested = settings(
        CHGNET,
        {
            "model": {
                "import_path": "chgnet.model.model.CHGNet.from_file",
                "arguments": {"path": str(weights), "use_device": "cpu"},
            },
            "use_device": "cpu",
            "on_isolated_atoms": "ignore",
        },
    )
    backbone = load_backbone(nested)
    shipped = load_backbone(settings(CHGNET, {"use_device": "cpu"}))
    energies = [foundation.evaluate([salt(0)]).energy.item() for foundation in (backbone, shipped)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)
    assert backbone.fingerprint != shipped.fingerprint
    other = tmp_path / "retrained.tar"
    other.write_bytes(weights.read_bytes() + b" ")
    nested.arguments["model"]["arguments"]["path"] = str(other)
    assert load_backbone(nested).fingerprint != backbone.fingerprint


def test_a_named_object_without_arguments_is_passed_as_it_is() -> None:
    from committee.backbones.named_objects import build_arguments

    built = build_arguments({"mode": {"import_path": "http.HTTPStatus.NOT_FOUND"}, "plain": {"a": [1, {"b": 2}]}})
    assert built["mode"].value == 404
    assert built["plain"] == {"a": [1, {"b": 2}]}


def test_the_fingerprint_tells_arguments_and_features_apart(xtb: CalculatorBackbone) -> None:
    fingerprints = {
        xtb.fingerprint,
        load_backbone(settings(TBLITE, EXACT_XTB | {"method": "GFN1-xTB"})).fingerprint,
        load_backbone(
            settings(TBLITE, EXACT_XTB).model_copy(
                update={"features": SevenNetSettings(kind="sevennet", model="7net-l3i5")}
            )
        ).fingerprint,
    }
    assert len(fingerprints) == 3
    assert load_backbone(settings(TBLITE, EXACT_XTB)).fingerprint == xtb.fingerprint


@pytest.mark.parametrize(
    ("import_path", "arguments", "message"),
    [
        ("EMT", {}, "expected module and name"),
        ("no_such_package.Thing", {}, "cannot be imported.*install its package"),
        ("ase.calculators.nothing.Thing", {}, "ase.calculators holds no nothing.Thing"),
        ("ase.calculators.emt.EMTT", {}, "holds no EMTT"),
        ("os.system", {"command": "false"}, "expected a subclass"),
        ("ase.Atoms", {}, "expected a subclass"),
        ("ase.calculators.harmonic.HarmonicCalculator", {"spring": 1}, "refused the arguments.*it takes"),
        (CHGNET, {"model": {"import_path": "chgnet.model.model.CHGNet.load", "arguments": {"nmae": 1}}}, "refused"),
        ("ase.calculators.calculator.Calculator", {}, "needs energy and forces"),
    ],
)
def test_an_import_path_of_no_calculator_is_refused(import_path: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FoundationError, match=message):
        load_backbone(settings(import_path, arguments))


def test_elements_outside_the_features_are_refused() -> None:
    with pytest.raises(FoundationError, match=r"foundation\.elements: Og not covered by sevennet:7net-0"):
        load_backbone(settings(EMT, elements=("Al", "Og")))
    with pytest.raises(ValueError, match="symbols such as Na, received Natrium"):
        settings(EMT, elements=("Natrium",))


def test_elements_may_be_fewer_than_the_features(emt: CalculatorBackbone) -> None:
    assert emt.elements == {13, 28, 29}
    with pytest.raises(UnknownElementError):
        emt.evaluate([bulk("Pd")])


def test_a_calculator_that_fails_is_named(xtb: CalculatorBackbone, chgnet: CalculatorBackbone) -> None:
    with pytest.raises(FoundationEvaluationError, match=rf"{EMT}; on frame 1 \(NaCl\) it failed: NotImplementedError"):
        load_backbone(settings(EMT)).evaluate([bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)])
    with pytest.raises(FoundationEvaluationError, match=rf"{CHGNET}; on frame 0 \(CO?.*it failed"):
        chgnet.evaluate([methanol(0)])
    beyond_gfn2 = Atoms("U2", [[0, 0, 0], [0, 0, 2.4]])
    with pytest.raises(FoundationEvaluationError, match=TBLITE):
        xtb.evaluate([beyond_gfn2])


def test_nan_is_named() -> None:
    backbone = load_backbone(settings("ase.calculators.lj.LennardJones", {"epsilon": float("nan"), "rc": 4.0}))
    with pytest.raises(FoundationEvaluationError, match="NaN or infinite energy, forces"):
        backbone.evaluate([molecule("CO")])


def test_atoms_that_drifted_away_are_wrapped_and_left_alone(emt: CalculatorBackbone) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.positions += 1000.0
    before = atoms.positions.copy()
    home = emt.evaluate([bulk("Cu", cubic=True)]).energy.item()
    assert emt.evaluate([atoms]).energy.item() == pytest.approx(home, abs=1e-6)
    np.testing.assert_array_equal(atoms.positions, before)
