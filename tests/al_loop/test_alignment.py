"""What a campaign does with labels against the foundation, before it trains on them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers
from ase.io import read, write
from ase.stress import full_3x3_to_voigt_6_stress
from rich.console import Console

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.records import LabelledFrame, Role
from al_loop.stages.train.alignment import training_input
from al_loop.stages.train.atom_shifts import isolated_atom_shifts
from al_loop.stages.train.other_labels import read_other_labels
from al_loop.stages.train.residuals import Residuals
from al_loop.tools.preflight.doctor import diagnose, print_findings
from al_loop.tools.preflight.label_notes import level_differences
from al_loop.tools.preflight.load_config import load_config
from committee.backbones import load_backbone
from committee.errors import FoundationEvaluationError, StructureError, TrainingDataError
from committee.potential import CommitteePotential, Provenance
from committee.settings import CommitteeSettings, SevenNetSettings
from committee.training.train import TrainingFrame
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.levels.level_of_theory import LevelOfTheory

SHIFTS = {1: 487.0, 6: 500.0, 8: 512.5}  # eV per atom between two codes
SEVERAL = ("CH3OH", "H2O", "CH4", "CO2", "C2H6", "H2O2") * 2
CONFIG = """
name: test
folder: {folder}
foundation: {{kind: sevennet}}
systems: [{{file: start.xyz}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
train: {{exact_up_to_atoms: 1, random_directions: 1}}
align: {align}
"""


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(SevenNetSettings(kind="sevennet"))


def config_of(folder: Path, align: str = "{}") -> Config:
    molecule("CH3OH").write(folder / "start.xyz")
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(folder=folder / "runs", align=align))
    return load_config(path)


def labelled(backbone, names, difference_eV, *, forces=1.0, level="engine"):
    """Frames whose labels are the foundation's own forces, 15 meV per atom of noise and a planted difference."""
    rng = np.random.default_rng(0)
    frames = []
    for i, name in enumerate(names):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=i)
        evaluation = backbone.evaluate([atoms])
        known = evaluation.foundation()[0].detach().double().numpy()
        energy = float(evaluation.energy[0].detach()) + difference_eV(atoms) + rng.normal(0, 0.015) * len(atoms)
        noisy = forces * (known + rng.normal(0, 0.1, known.shape))
        label = Label(LabelStatus.CONVERGED, level, energy_eV=energy, forces_eV_per_A=noisy)
        frames.append(LabelledFrame(f"frame{i}", atoms, Role.EXPLORE, name, f"{name}/{i}", label=label))
    return frames


def parts_without_training(backbone):
    """Settings, heads and latent distance of a committee that knows nothing."""
    settings = CommitteeSettings(members=2)
    fresh = CommitteePotential.untrained(backbone, settings)
    return settings, fresh.heads, fresh.latent


def per_element(atoms):
    return sum(SHIFTS[z] for z in atoms.numbers)


@pytest.mark.parametrize(
    ("names", "difference_eV"),
    [
        (("CH3OH",) * 8, lambda _: 465.0),
        (("CH3OH",) * 8, lambda atoms: 500.0 * len(atoms)),
        (SEVERAL, lambda atoms: 500.0 * len(atoms)),
        (SEVERAL, per_element),
    ],
    ids=["465 eV per frame", "500 eV per atom", "500 eV per atom, several", "another for each element, several"],
)
def test_two_codes_are_aligned_below_20_meV_per_atom_before_any_training(backbone, tmp_path, names, difference_eV):
    config = config_of(tmp_path)
    frames = labelled(backbone, names, difference_eV)
    given = training_input(config, backbone, frames)
    assert given.stop(config.align, first=True) == ""
    shifts = given.residuals.shifts
    untrained = CommitteePotential(backbone, *parts_without_training(backbone), shifts, Provenance("engine"))
    predictions = untrained.predict([frame.atoms for frame in given.frames])
    against_labels = [
        (found.energy - frame.energy_eV) / len(frame.atoms)
        for found, frame in zip(predictions, given.frames, strict=True)
    ]
    against_truth = [
        (shifts.total_eV(frame.atoms.numbers) - difference_eV(frame.atoms)) / len(frame.atoms) for frame in given.frames
    ]
    assert np.mean(np.abs(against_labels)) < 0.020
    assert np.mean(np.abs(against_truth)) < 0.015
    assert 0.005 < given.residuals.spread_eV_per_atom < 0.03
    assert all(frame.level_of_theory == "engine" for frame in given.frames)
    assert any("with a correlation of" in sentence for sentence in given.findings)


def test_held_out_labels_show_a_slip_that_a_few_training_labels_do_not(backbone, tmp_path):
    frames = [
        replace(frame, label=replace(frame.label, forces_eV_per_A=frame.label.forces_eV_per_A / 51.422))
        for frame in labelled(backbone, ("CH3OH",) * 6, lambda _: 465.0)
    ]
    assert training_input(config_of(tmp_path), backbone, frames[:2]).mismatches == ()
    given = training_input(config_of(tmp_path), backbone, frames[:2], compared_only=frames[2:])
    assert len(given.frames) == 2
    assert "Hartree" in given.mismatches[0]


def test_elements_that_cannot_be_told_apart_are_named(backbone, tmp_path):
    frames = labelled(backbone, ("CH3OH",) * 4, per_element)
    named = " ".join(training_input(config_of(tmp_path), backbone, frames).findings)
    assert "H, C, O separately" in named
    assert "align.isolated_atoms_eV" in named


def test_isolated_atoms_decide_what_one_composition_leaves_open(backbone, tmp_path):
    vacuum = {symbol: float(backbone.evaluate([Atoms(symbol)]).energy[0].detach()) for symbol in "HCO"}
    atoms_eV = {symbol: energy + SHIFTS[atomic_numbers[symbol]] for symbol, energy in vacuum.items()}
    assert isolated_atom_shifts(atoms_eV, backbone) == pytest.approx(SHIFTS, abs=0.001)
    frames = labelled(backbone, ("CH3OH",) * 4, per_element)
    water = molecule("H2O").numbers
    alone = training_input(config_of(tmp_path), backbone, frames)
    config = config_of(tmp_path, f"{{isolated_atoms_eV: {atoms_eV}}}")
    given = training_input(config, backbone, frames)
    right = sum(SHIFTS[z] for z in water)
    assert abs(alone.residuals.shifts.total_eV(water) - right) > 5
    assert abs(given.residuals.shifts.total_eV(water) - right) < 0.2
    assert any("they follow the isolated atoms (align.isolated_atoms_eV" in sentence for sentence in given.findings)
    assert any("Isolated atoms alone would leave 0.0" in sentence for sentence in given.findings)


def test_a_constant_that_does_not_grow_with_the_frame_stops_and_is_named(backbone, tmp_path):
    config = config_of(tmp_path)
    given = training_input(config, backbone, labelled(backbone, SEVERAL, lambda _: 465.0))
    stop = given.stop(config.align, first=True)
    assert "A constant of 46" in stop
    assert "align.accept_residual_spread_eV_per_atom" in stop
    assert given.stop(config.align, first=False) == ""
    spread = given.residuals.spread_eV_per_atom
    accepted = config_of(tmp_path, f"{{accept_residual_spread_eV_per_atom: {2 * spread}}}")
    assert given.stop(accepted.align, first=True) == ""


def test_energies_per_atom_stop(backbone, tmp_path):
    frames = labelled(backbone, SEVERAL, lambda atoms: -1000.0 * len(atoms) * (1 - 1 / len(atoms)))
    config = config_of(tmp_path)
    assert "energies are of the same kind" in training_input(config, backbone, frames).stop(config.align, first=True)


def test_a_slip_stops_unless_the_user_knows_better(backbone, tmp_path):
    config = config_of(tmp_path)
    given = training_input(config, backbone, labelled(backbone, SEVERAL, per_element, forces=-1 / 51.42))
    stop = given.stop(config.align, first=False)
    assert stop.startswith("The labels do not fit the foundation: ")
    assert "wrong sign" in stop
    assert "Hartree/bohr" in stop
    assert "align.on_unit_mismatch: warn" in stop
    assert given.stop(config_of(tmp_path, "{on_unit_mismatch: warn}").align, first=True) == ""


def write_labels(path, backbone, difference_eV, forces=1.0):
    frames = []
    for frame in labelled(backbone, SEVERAL, difference_eV, forces=forces):
        atoms = frame.atoms.copy()
        atoms.info["REF_energy"] = frame.label.energy_eV
        atoms.arrays["REF_forces"] = frame.label.forces_eV_per_A
        frames.append(atoms)
    write(path, frames)


OTHER = "{other_labels: [{file: other.extxyz, level: 'PBE, VASP', align: shifts}]}"


def test_other_labels_join_with_shifts_of_their_own(backbone, tmp_path):
    write_labels(tmp_path / "other.extxyz", backbone, lambda atoms: -7.0 * len(atoms))
    given = training_input(config_of(tmp_path, OTHER), backbone, labelled(backbone, ("CH3OH",) * 4, per_element))
    own, others = given.frames[:4], given.frames[4:]
    assert [frame.aligned for frame in own] == [False] * 4
    assert len(others) == len(SEVERAL)
    for frame in others:
        known = float(backbone.evaluate([frame.atoms]).energy[0].detach())
        assert frame.aligned
        assert abs(frame.energy_eV - known) / len(frame.atoms) < 0.1
        assert frame.level_of_theory == "PBE, VASP"
    assert any(sentence.startswith("PBE, VASP: energies aligned") for sentence in given.findings)


def test_isolated_atoms_and_parts_of_labels_in_files_of_other_labels(backbone, tmp_path):
    """Files of one level are one set; frames without forces or energy join with what they have."""
    write_labels(tmp_path / "other.extxyz", backbone, per_element)
    frames = read(tmp_path / "other.extxyz", ":")
    del frames[0].arrays["REF_forces"]
    del frames[1].info["REF_energy"]
    atoms_eV = {
        symbol: energy + SHIFTS[atomic_numbers[symbol]] for symbol, energy in single_atoms(backbone, "HCO").items()
    }
    lone = [Atoms(symbol, info={"REF_energy": energy}) for symbol, energy in atoms_eV.items()]
    write(tmp_path / "other.extxyz", frames[:4])
    write(tmp_path / "more.extxyz", [*frames[3:], *lone])
    config = config_of(tmp_path, f"{OTHER[:-2]}, {{file: more.extxyz, level: 'PBE, VASP', align: shifts}}]}}")
    given = training_input(config, backbone, labelled(backbone, ("CH3OH",) * 4, per_element))
    others = given.frames[4:]
    assert len(others) == len(SEVERAL)  # one of them stands in both files
    assert sum(frame.forces_eV_per_A is None for frame in others) == 1
    assert sum(np.isnan(frame.energy_eV) for frame in others) == 1
    said = " ".join(given.findings)
    assert "PBE, VASP: Energies of isolated atoms were taken for C (" in said
    assert "PBE, VASP: 1 frame repeats another one" in said
    assert "14 with energy and forces, 1 energy only, 1 forces only" in said
    found = read_other_labels(config.align.other_labels, backbone)
    assert found.prior_shifts_eV["PBE, VASP"] == pytest.approx(SHIFTS, abs=0.001)
    frames[3].info["REF_energy"] += 1.0
    write(tmp_path / "more.extxyz", frames[3:])
    with pytest.raises(InputError, match=r"other\.extxyz, frame 3 and .*more\.extxyz, frame 0 are the same geometry"):
        read_other_labels(config.align.other_labels, backbone)


def single_atoms(backbone, symbols):
    shifts = isolated_atom_shifts(dict.fromkeys(symbols, 0.0), backbone)
    return {symbol: -shifts[atomic_numbers[symbol]] for symbol in symbols}


def test_a_foundation_without_an_answer_for_one_atom_is_named(backbone):
    class Silent:
        name = "silent"

        def evaluate(self, frames):
            raise FoundationEvaluationError("silent", 0, "H", "it has no neighbours.")

    with pytest.raises(InputError, match=r"silent gives no energy of a single H atom: .* no neighbours"):
        isolated_atom_shifts({"H": -13.6}, Silent())


def test_isolated_atoms_that_the_foundation_cannot_answer_do_not_stop_a_campaign(backbone, tmp_path, monkeypatch):
    evaluate = backbone.evaluate

    def lonely(frames):
        if len(frames[0]) == 1:
            raise FoundationEvaluationError("lonely", 0, "C", "it has no neighbours.")
        return evaluate(frames)

    monkeypatch.setattr(backbone, "evaluate", lonely)
    config = config_of(tmp_path, "{isolated_atoms_eV: {C: -1029.0, H: -13.6, O: -2041.0}}")
    given = training_input(config, backbone, labelled(backbone, ("CH3OH",) * 4, per_element))
    assert not given.prior_shifts_eV
    assert any("no energy of a single C atom" in said and "were not used" in said for said in given.findings)


def test_a_foundation_that_knows_no_spin_is_asked_without(backbone):
    class Neutral:
        name = "neutral"

        def evaluate(self, frames):
            if "spin" in frames[0].info:
                raise StructureError("knows no spin", 0)
            return backbone.evaluate(frames)

    assert isolated_atom_shifts({"H": 1.0}, Neutral()) == isolated_atom_shifts({"H": 1.0}, backbone)


@pytest.mark.parametrize("energies", [True, False])
@pytest.mark.parametrize("wrong", ["stress", "forces"])
def test_one_stress_or_forces_far_off_among_other_labels_are_left_out_and_named(backbone, tmp_path, wrong, energies):
    frames = []
    for seed in range(8):
        atoms = bulk("NaCl", "rocksalt", a=5.4 + 0.05 * seed)
        atoms.rattle(0.05, seed=seed)
        evaluation = backbone.evaluate([atoms])
        forces, stress = (part.detach().double().numpy() for part in evaluation.foundation())
        spoilt = wrong if seed == 2 else ""
        if energies:
            atoms.info["REF_energy"] = float(evaluation.energy[0].detach())
        atoms.info["REF_stress"] = full_3x3_to_voigt_6_stress(stress[0]) * (160.2 if spoilt == "stress" else 1.0)
        atoms.arrays["REF_forces"] = forces + (np.array([[300.0], [-300.0]]) if spoilt == "forces" else 0.0)
        frames.append(atoms)
    write(tmp_path / "other.extxyz", frames)
    given = training_input(config_of(tmp_path, OTHER), backbone, labelled(backbone, ("CH3OH",) * 4, per_element))
    assert len(given.frames) == 4 + 7
    said = {"stress": "the stress is", "forces": "forces differ"}[wrong]
    assert any(f"other.extxyz, frame 2 is left out as an outlier: {said}" in told for told in given.findings)


def test_a_slip_in_a_file_of_other_labels_names_the_file(backbone, tmp_path):
    write_labels(tmp_path / "other.extxyz", backbone, per_element, forces=1 / 51.42)
    config = config_of(tmp_path, OTHER)
    given = training_input(config, backbone, labelled(backbone, ("CH3OH",) * 4, per_element))
    assert "align.other_labels, PBE, VASP: the labels do not fit" in given.stop(config.align, first=False)


def test_labels_of_the_engine_at_two_levels_are_refused_not_aligned(backbone, tmp_path):
    frames = labelled(backbone, ("CH3OH",) * 2, per_element)
    other = replace(frames[1], label=replace(frames[1].label, level_of_theory="exchanged"))
    with pytest.raises(TrainingDataError, match=r"engine \(frame frame0\), exchanged \(frame frame1\)"):
        training_input(config_of(tmp_path), backbone, [frames[0], other])


def test_other_labels_that_shifts_do_not_explain_stop_until_that_is_confirmed(backbone, tmp_path):
    own = labelled(backbone, ("CH3OH",) * 4, per_element)
    write_labels(tmp_path / "other.extxyz", backbone, lambda _: 465.0)
    config = config_of(tmp_path, OTHER)
    stop = training_input(config, backbone, own).stop(config.align, first=True)
    assert stop.startswith("align.other_labels, PBE, VASP: After a reference shift for each element")
    assert "A constant of 46" in stop
    confirmed = config.align.model_copy(update={"accept_residual_spread_eV_per_atom": 100.0})
    assert training_input(config, backbone, own).stop(confirmed, first=True) == ""

    spoilt = {"CO2": 900.0}  # a single frame draws the zero of all others along
    write_labels(
        tmp_path / "other.extxyz",
        backbone,
        lambda atoms: per_element(atoms) + spoilt.pop(atoms.get_chemical_formula(), 0.0),
    )
    config = config_of(tmp_path, OTHER)
    assert "align.other_labels" in training_input(config, backbone, own).stop(config.align, first=True)


def test_other_labels_that_cannot_be_used_are_refused(backbone, tmp_path):
    with pytest.raises(InputError, match=r"other_labels\[0\]\.file: .*other\.extxyz is not a file"):
        config_of(tmp_path, OTHER)
    with pytest.raises(InputError, match=r"align\.other_labels"):
        config_of(tmp_path, OTHER.replace("align: shifts", "align: nothing"))
    noble = molecule("CH4")
    noble.numbers[0] = 86
    noble.arrays["REF_forces"] = np.zeros((5, 3))
    write(tmp_path / "other.extxyz", noble)
    with pytest.raises(InputError, match=r"other\.extxyz, frame 0 holds Rn"):
        read_other_labels(config_of(tmp_path, OTHER).align.other_labels, backbone)


def test_isolated_atoms_need_every_element(tmp_path):
    with pytest.raises(InputError, match="isolated_atoms_eV: H, O missing"):
        config_of(tmp_path, "{isolated_atoms_eV: {C: -1029.0}}")
    with pytest.raises(InputError, match="expected symbols such as Na, received Q"):
        config_of(tmp_path, "{isolated_atoms_eV: {Q: -1029.0}}")


def test_one_frame_far_off_is_named_and_does_not_stop():
    frames = [TrainingFrame(f"frame{i}", bulk("Si"), 10.0 + 0.01 * i) for i in range(9)]
    frames.append(TrainingFrame("far", bulk("Si"), 16.0))
    found = Residuals.of(frames, [0.0] * 10, {})
    assert found.worst_frame == "far"
    assert found.objection(0.3) == ""
    assert Residuals.of(frames[:1], [0.0], {}).objection(0.3) == ""
    assert "too few to measure" in Residuals.of(frames[:1], [0.0], {}).summary


def test_the_doctor_notes_differences_of_level_without_blocking(tmp_path):
    (found,) = [finding for finding in diagnose(config_of(tmp_path)) if finding.subject == "level of theory"]
    assert found.ok
    assert found.note
    assert "Functional: engine ase does not name one" in found.detail
    output = io.StringIO()
    print_findings([found], Console(file=output, width=100))
    assert output.getvalue().startswith("note")


def test_differences_of_level_are_said_in_the_words_of_the_table(tmp_path):
    config = config_of(tmp_path)
    same = LevelOfTheory("vasp", "PBE", "PBE", basis={"cutoff_eV": 520.0}, spin="polarised")
    pyscf = LevelOfTheory("pyscf", "PBE/def2-SVP", "pbe,pbe", spin="polarised")
    assert not any(sentence.startswith("Functional") for sentence in level_differences(config, same))
    assert any(sentence.startswith("Code: the labels come from pyscf") for sentence in level_differences(config, pyscf))
    other = config.model_copy(update={"foundation": SevenNetSettings(kind="sevennet", model="mine.pth")})
    assert "mine.pth is not in the table" in level_differences(other, pyscf)[0]
