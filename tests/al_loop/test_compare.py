"""Foundations compared on labelled frames whose labels are another real foundation's."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.names import LabelKeys
from al_loop.tools.open_model import parse_foundation, title
from al_loop.tools.single_steps.compare import FoundationScore, _choose, compare_foundations
from committee import CalculatorSettings, SevenNetSettings, load_backbone
from committee.errors import FoundationError, StructureError, UnknownElementError

SHIFTS_EV = {"Na": 310.0, "Cl": -120.0, "K": 55.0}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Salts of several compositions, labelled by 7net-l3i5 on the energy zero of another code."""
    judge = load_backbone(SevenNetSettings(kind="sevennet", model="7net-l3i5"))
    frames = []
    for seed in range(6):
        atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
        atoms.rattle(0.1, rng=np.random.default_rng(seed))
        atoms.numbers[np.flatnonzero(atoms.numbers == 11)[: seed % 3]] = 19
        evaluation = judge.evaluate([atoms])
        forces, stress = evaluation.foundation(retain_graph=True)
        atoms.info["REF_energy"] = evaluation.energy.item() + sum(SHIFTS_EV[symbol] for symbol in atoms.symbols)
        atoms.arrays["REF_forces"] = forces.numpy().astype(float)
        atoms.info["REF_stress"] = stress[0].numpy().astype(float)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("labels") / "frames.extxyz"
    write(path, frames)
    return path


def rewrite(path: Path, folder: Path, change: Callable[[Atoms], None]) -> Path:
    frames = [frame.atoms for frame in read_labelled(path).frames]
    for atoms in frames:
        change(atoms)
    write(folder / "changed.extxyz", frames)
    return folder / "changed.extxyz"


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_labelling_model_itself_has_no_error(labelled: Path) -> None:
    foundations = [
        parse_foundation(text) for text in ("sevennet:7net-0", "sevennet:7net-l3i5", "sevennet:7net-mf-0:PBE")
    ]
    comparison = compare_foundations(read_labelled(labelled).frames, foundations)
    best, *others = comparison.scores
    assert comparison.start_from == best.foundation == "sevennet:7net-l3i5"
    assert best.force_mae_eV_per_A < 1e-5
    assert best.energy_mae_eV_per_atom is not None
    assert best.energy_mae_eV_per_atom < 1e-5
    assert best.stress_mae_eV_per_A3 is not None
    assert best.stress_mae_eV_per_A3 < 1e-6
    assert best.force_spearman == pytest.approx(1)
    assert best.force_slope == pytest.approx(1, abs=1e-4)
    assert [score.foundation for score in others] != []
    for score in others:
        assert 0.005 < score.force_mae_eV_per_A < comparison.mean_force_eV_per_A
        assert 1e-5 < score.energy_mae_eV_per_atom < 0.1
        assert 0.8 < score.force_spearman < 1
        assert score.seconds_per_atom > 0
    assert others[0].force_mae_eV_per_A <= others[1].force_mae_eV_per_A
    assert (comparison.frames, comparison.atoms) == (6, 48)


def test_the_figures_are_the_plain_formulas(labelled: Path) -> None:
    frames = read_labelled(labelled).frames
    (score,) = compare_foundations(frames, [parse_foundation("sevennet:7net-0")]).scores
    backbone = load_backbone(SevenNetSettings(kind="sevennet"))
    forces = [backbone.evaluate([frame.atoms]).foundation()[0].numpy() for frame in frames]
    predicted = np.concatenate(forces).ravel().astype(float)
    truth = np.concatenate([frame.forces_eV_per_A for frame in frames]).ravel()
    assert score.force_mae_eV_per_A == pytest.approx(np.abs(predicted - truth).mean(), rel=1e-4)
    assert score.force_slope == pytest.approx(np.sum(predicted * truth) / np.sum(truth**2), rel=1e-4)


def test_command_prints_a_table_and_a_choice(labelled: Path) -> None:
    code, out, _ = invoke(labelled, "--foundation", "sevennet:7net-0", "--foundation", "sevennet:7net-l3i5")
    assert code == 0
    assert "6 frames, 48 atoms" in out
    assert "Start from sevennet:7net-l3i5: it has the lowest force error" in " ".join(out.split())


def test_command_prints_json(labelled: Path) -> None:
    code, out, _ = invoke(labelled, "--foundation", "sevennet:7net-mf-0:R2SCAN", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["start_from"] == "sevennet:7net-mf-0:R2SCAN"
    assert found["scores"][0]["force_mae_eV_per_A"] > 0


def test_a_calculator_from_a_campaign_file(labelled: Path, tmp_path: Path) -> None:
    molecule("CH3OH").write(tmp_path / "start.xyz")
    (tmp_path / "campaign.yaml").write_text(
        "name: x\nfolder: x\nsystems: [{file: start.xyz}]\nexplore: {temperatures_K: [300]}\n"
        "label: {engine: {engine: pyscf}}\n"
        "foundation: {kind: calculator, import_path: ase.calculators.lj.LennardJones, features: {kind: sevennet}}\n"
    )
    foundation = parse_foundation(str(tmp_path / "campaign.yaml"))
    assert isinstance(foundation, CalculatorSettings)
    comparison = compare_foundations(read_labelled(labelled).frames, [foundation, parse_foundation("sevennet:7net-0")])
    assert [score.foundation for score in comparison.scores] == [
        "sevennet:7net-0",
        "calculator:ase.calculators.lj.LennardJones",
    ]


def test_other_keys_and_missing_labels(labelled: Path, tmp_path: Path) -> None:
    def rename(atoms: Atoms) -> None:
        atoms.arrays["f"] = atoms.arrays.pop("REF_forces")
        atoms.info["e"] = atoms.info.pop("REF_energy")
        del atoms.info["REF_stress"]

    path = rewrite(labelled, tmp_path, rename)
    frames = read_labelled(path, LabelKeys(energy="e", forces="f", stress="s")).frames
    (score,) = compare_foundations(frames, [parse_foundation("sevennet:7net-l3i5")]).scores
    assert score.energy_mae_eV_per_atom is not None
    assert score.energy_mae_eV_per_atom < 1e-5
    assert score.stress_mae_eV_per_A3 is None
    (score,) = compare_foundations(frames[:2], [parse_foundation("sevennet:7net-l3i5")]).scores
    assert score.energy_mae_eV_per_atom is None  # two frames and two compositions: the shifts explain everything
    code, _, err = invoke(path, "--foundation", "sevennet:7net-0")
    assert code == 2
    assert "no frame has forces under the name 'REF_forces' or an energy under 'REF_energy'" in err
    assert "the first holds e, f" in err


def test_labels_that_ase_took_for_its_own_results(tmp_path: Path) -> None:
    from ase.calculators.lj import LennardJones

    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.calc = LennardJones(sigma=2.3, epsilon=0.4)
    forces = atoms.get_forces()
    write(tmp_path / "own.extxyz", atoms)
    (frame,) = read_labelled(tmp_path / "own.extxyz", LabelKeys("energy", "forces", "stress")).frames
    np.testing.assert_allclose(frame.forces_eV_per_A, forces, atol=1e-6)
    assert np.isfinite(frame.energy_eV)


BAD_FRAMES: dict[str, tuple[Callable[[Atoms], None], str]] = {
    "NaN": (lambda atoms: atoms.arrays["REF_forces"].__setitem__((0, 0), np.nan), "frame 0: REF_forces holds NaN"),
    "shape": (lambda atoms: atoms.set_array("REF_forces", np.zeros(8)) or None, "REF_forces has shape (8,)"),
    "words": (
        lambda atoms: atoms.info.update(REF_energy="unknown"),
        "REF_energy cannot be read (ValueError: could not convert",
    ),
    "no forces": (lambda atoms: atoms.arrays.__delitem__("REF_forces"), "frames has forces"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_labels(case: str, labelled: Path, tmp_path: Path) -> None:
    change, words = BAD_FRAMES[case]

    def clean(atoms: Atoms) -> None:
        if case == "shape":
            del atoms.arrays["REF_forces"]
        change(atoms)

    code, out, err = invoke(rewrite(labelled, tmp_path, clean), "--foundation", "sevennet:7net-0")
    assert code == 2
    assert words in err
    assert out == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7net-0", "expected sevennet:MODEL"),
        ("mace:small", "expected sevennet:MODEL"),
        ("sevennet:", "expected sevennet:MODEL"),
        ("sevennet:7net-1", "did you mean '7net-0'"),
        ("fairchem:uma-s-1p2p1", "fairchem:MODEL:TASK"),
        ("fairchem:uma-s-1p2p1:omatt", "did you mean 'omat'"),
        ("fairchem:/nowhere.pt:omat", "neither a file nor a fairchem model"),
        ("nowhere.yaml", "no config file"),
    ],
)
def test_bad_foundations(text: str, words: str, labelled: Path) -> None:
    code, out, err = invoke(labelled, "--foundation", text)
    assert code == 2
    assert words in err
    assert out == ""


@pytest.mark.parametrize(
    ("content", "words"), [(None, "is not a file"), ("", "holds no frames"), ("3\n\nH 0", "cut off")]
)
def test_bad_files(content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    if content is not None:
        path.write_text(content)
    code, _, err = invoke(path, "--foundation", "sevennet:7net-0")
    assert code == 2
    assert words in err


def test_what_a_foundation_refuses_names_it(labelled: Path, tmp_path: Path) -> None:
    def exotic(atoms: Atoms) -> None:
        atoms.numbers[0] = 118

    frames = read_labelled(rewrite(labelled, tmp_path, exotic)).frames
    with pytest.raises(UnknownElementError, match=r"sevennet:7net-0: Frame 0 holds Og"):
        compare_foundations(frames, [parse_foundation("sevennet:7net-0")])
    with pytest.raises(FoundationError, match="holds the fidelities"):
        compare_foundations(frames, [parse_foundation("sevennet:7net-mf-0:B3LYP")])
    with pytest.raises(InputError, match="no foundation"):
        compare_foundations(frames, [])
    with pytest.raises(InputError, match="frames has forces"):
        compare_foundations([], [parse_foundation("sevennet:7net-0")])


def test_a_frame_is_counted_from_the_beginning_of_the_file(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("al_loop.tools.single_steps.compare.BATCH_ATOMS", 1)
    frames = read_labelled(labelled).frames
    frames[2].atoms.positions[1] = np.nan
    with pytest.raises(StructureError, match=r"sevennet:7net-0: Frame 2 has NaN"):
        compare_foundations(frames, [parse_foundation("sevennet:7net-0")])


def test_labels_of_other_structures_are_noticed(labelled: Path, tmp_path: Path) -> None:
    def shuffle(atoms: Atoms) -> None:
        atoms.arrays["REF_forces"] = -atoms.arrays["REF_forces"]

    code, out, _ = invoke(rewrite(labelled, tmp_path, shuffle), "--foundation", "sevennet:7net-0")
    assert code == 0
    assert "predicting zero forces would be as accurate" in " ".join(out.split())


def test_names_go_there_and_back() -> None:
    for text in ("sevennet:7net-0", "sevennet:7net-mf-0:PBE", "fairchem:uma-s-1p2p1:omol"):
        assert title(parse_foundation(text)) == text


def test_a_much_faster_foundation_that_is_nearly_as_good_is_chosen() -> None:
    def score(name: str, error: float, seconds: float) -> FoundationScore:
        return FoundationScore(name, "", error, None, None, None, None, seconds)

    slow, fast, poor = score("slow", 0.100, 2.0), score("fast", 0.109, 1.0), score("poor", 0.2, 0.1)
    assert _choose([slow, fast, poor])[0] is fast
    assert _choose([slow, poor])[0] is slow
    assert _choose([slow, score("no faster", 0.101, 1.9)])[0] is slow
