"""SevenNet as a foundation: its own calculator's numbers, derivatives that can be differentiated again."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from committee.backbones import load_backbone
from committee.backbones.sevennet import SevenNetBackbone
from committee.errors import FoundationError
from committee.settings import SevenNetSettings
from committee.sevennet_names import FETCHED, SHIPPED
from committee.testing import check_backbone

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def load(model: str = "7net-0", fidelity: str | None = None) -> SevenNetBackbone:
    return load_backbone(SevenNetSettings(kind="sevennet", model=model, fidelity=fidelity))


@pytest.fixture(scope="module")
def backbone() -> SevenNetBackbone:
    return load()


CONTRACTS = [
    ("7net-0", None),
    ("7net-0_22may2024", None),
    ("7net-l3i5", None),
    ("7net-mf-0", "PBE"),
    ("7net-mf-0", "R2SCAN"),
]


@pytest.mark.parametrize(("model", "fidelity"), CONTRACTS)
def test_contract(model: str, fidelity: str | None) -> None:
    check_backbone(load(model, fidelity))


def test_every_checkpoint_of_the_wheel_is_known_and_under_contract() -> None:
    import sevenn
    from sevenn.util import pretrained_name_to_path

    inside = {path.resolve() for path in Path(sevenn.__file__).parent.glob("pretrained_potentials/**/*.pth")}
    assert {Path(pretrained_name_to_path(name)).resolve() for name in SHIPPED} == inside
    assert {model for model, _ in CONTRACTS} == set(SHIPPED)


@pytest.mark.parametrize("name", ["7NET-0", "SevenNet-0", "7net-0_11July2024", "sevennet-0_11Jul2024"])
def test_other_spellings_are_the_same_model(name: str, backbone: SevenNetBackbone) -> None:
    other = load(name)
    assert (other.name, other.fingerprint) == ("sevennet:7net-0", backbone.fingerprint)


def test_names_that_need_a_download_say_how_to_get_it() -> None:
    from sevenn._const import CHECKPOINT_DOWNLOAD_LINKS

    assert len(FETCHED) == len(CHECKPOINT_DOWNLOAD_LINKS)
    for name in FETCHED:
        with pytest.raises(FoundationError, match=rf"not in its wheel.*fetch them once.*'{name}'.*path"):
            load(name)


@pytest.mark.filterwarnings("ignore:No tensor product accelerator")  # SevenNet's calculator, not the adapter
@pytest.mark.parametrize(("model", "fidelity"), [("7net-0", None), ("7net-mf-0", "R2SCAN")])
def test_answers_as_its_own_calculator(
    model: str, fidelity: str | None, varied_frames: list[Atoms], one_thread: None
) -> None:
    from sevenn.calculator import SevenNetCalculator

    backbone = load(model, fidelity)
    calculator = SevenNetCalculator(model, device="cpu", modal=fidelity)
    for atoms in [*varied_frames, molecule("H")]:
        evaluation = backbone.evaluate([atoms])
        forces, stress = evaluation.foundation()
        atoms.calc = calculator
        assert evaluation.energy.item() == atoms.get_potential_energy()
        np.testing.assert_array_equal(forces, atoms.get_forces())
        if atoms.pbc.all():
            np.testing.assert_allclose(stress[0].numpy()[VOIGT], atoms.get_stress(), rtol=0, atol=2e-7)


def test_molecule_far_from_the_origin(backbone: SevenNetBackbone) -> None:
    here, there = molecule("CH3OH"), molecule("CH3OH")
    there.positions += 1e5
    energies = backbone.to(torch.float64).evaluate([here, there]).energy
    assert energies[0].item() == pytest.approx(energies[1].item(), abs=1e-6)


def test_slab_whose_vacuum_is_not_along_z(backbone: SevenNetBackbone) -> None:
    upright = fcc111("Al", (2, 2, 2), vacuum=6.0)
    lying = upright.copy()
    lying.set_cell(np.roll(upright.cell.array, 1, axis=1))
    lying.positions = np.roll(upright.positions, 1, axis=1)
    exact = backbone.to(torch.float64)
    features = exact.evaluate([upright, lying]).features
    torch.testing.assert_close(features[:8], features[8:], rtol=0, atol=1e-9)


def test_tension_is_positive_and_stress_is_that_of_a_stretched_cell(backbone: SevenNetBackbone) -> None:
    stretched, squeezed = bulk("Al", a=4.3), bulk("Al", a=3.8)
    _, stress = backbone.evaluate([stretched, squeezed]).foundation()
    assert (stress[0].diagonal() > 0).all()
    assert (stress[1].diagonal() < 0).all()


def test_weights_are_frozen(backbone: SevenNetBackbone) -> None:
    evaluation = backbone.evaluate([molecule("H2O")])
    assert evaluation.features.requires_grad
    leaves = {id(leaf) for leaf in _leaves(evaluation.energy.grad_fn)}
    assert leaves == {id(evaluation.positions), id(evaluation.strain)}


def test_fidelities_are_different_models() -> None:
    pbe, r2scan = load("7net-mf-0", "PBE"), load("7net-mf-0", "R2SCAN")
    assert pbe.fingerprint != r2scan.fingerprint
    assert "PBE" in pbe.level_of_theory
    assert "R2SCAN" in r2scan.level_of_theory
    atoms = bulk("Si")
    assert abs(pbe.evaluate([atoms]).energy.item() - r2scan.evaluate([atoms]).energy.item()) > 0.1


def test_fingerprint_is_the_same_in_another_process_and_for_a_copy(backbone: SevenNetBackbone, tmp_path: Path) -> None:
    from sevenn.util import pretrained_name_to_path

    copy = tmp_path / "mine.pth"
    copy.write_bytes(Path(pretrained_name_to_path("7net-0")).read_bytes())
    script = (
        "import sys; from committee.backbones import load_backbone; from committee.settings import SevenNetSettings;"
        "print(load_backbone(SevenNetSettings(kind='sevennet', model=sys.argv[1])).fingerprint)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(copy)], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == backbone.fingerprint != load("7net-0_22may2024").fingerprint


@pytest.mark.parametrize(
    ("model", "fidelity", "parts"),
    [
        ("7net-9", None, ["7net-9", "7net-0", "7net-l3i5", "7net-mf-0", "path"]),
        ("7net-mf-0", None, ["PBE", "R2SCAN", "fidelity"]),
        ("7net-mf-0", "B3LYP", ["B3LYP", "PBE", "R2SCAN"]),
        ("7net-0", "PBE", ["one fidelity", "leave out"]),
    ],
)
def test_wrong_names_are_explained(model: str, fidelity: str | None, parts: list[str]) -> None:
    with pytest.raises(FoundationError) as caught:
        load(model, fidelity)
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04]\x94."])
def test_unreadable_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(FoundationError, match=r"broken\.pth cannot be read \(.*expected a SevenNet checkpoint"):
        load(str(path))


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sevenn.util", None)
    with pytest.raises(FoundationError, match=r"pip install al-loop\[sevennet\]"):
        load()


def _leaves(node: torch.autograd.graph.Node | None) -> list[torch.Tensor]:
    found, stack, visited = [], [node], set()
    while stack:
        current = stack.pop()
        if current is None or current in visited:
            continue
        visited.add(current)
        if hasattr(current, "variable"):
            found.append(current.variable)
        stack += [parent for parent, _ in current.next_functions]
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device, so nothing is missing")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(FoundationError, match=r"foundation\.device: received cuda.*set device: cpu"):
        load_backbone(SevenNetSettings(kind="sevennet", device="cuda"))
