"""A sum of calculators as a foundation: D3 added to SevenNet-0, and properties of each part of a sum."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, FileIOCalculator
from dftd3.ase import DFTD3
from pydantic import TypeAdapter

from committee import CalculatorSettings, SevenNetSettings, load_backbone
from committee.backbones.calculator import CalculatorBackbone, parts
from committee.settings import FoundationSettings
from committee.testing import check_backbone, example_frames

CONFIG = Path(__file__).parents[3] / "configs" / "dispersion.yaml"
SEVENNET = SevenNetSettings(kind="sevennet")
SUM = "ase.calculators.mixing.SumCalculator"


def d3(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = DFTD3(damping="d3bj", params_tweaks={"method": "PBE", "atm": False})
    return copy


@pytest.fixture(scope="module")
def with_d3() -> CalculatorBackbone:
    chosen = TypeAdapter(FoundationSettings).validate_python(yaml.safe_load(CONFIG.read_text())["foundation"])
    return load_backbone(chosen)


def test_the_sum_of_the_config_keeps_the_contract(with_d3: CalculatorBackbone) -> None:
    check_backbone(with_d3, example_frames(with_d3.elements), single_precision=True)


def test_it_is_sevennet_and_d3_for_crystals_and_molecules(with_d3: CalculatorBackbone) -> None:
    alone = load_backbone(SEVENNET)
    crystal, methanol = bulk("NaCl", "rocksalt", a=5.5, cubic=True), molecule("CH3OH")
    for atoms in (crystal, methanol):
        atoms.rattle(0.1, seed=1)
    both, plain = with_d3.evaluate([crystal, methanol]), alone.evaluate([crystal, methanol])
    pairs = zip([crystal, methanol], both.energy.tolist(), plain.energy.tolist(), strict=True)
    for atoms, total, sevennet in pairs:
        assert total == pytest.approx(sevennet + d3(atoms).get_potential_energy(), abs=1e-6 * len(atoms))
    forces = both.closed_forces.numpy() - np.vstack([d3(crystal).get_forces(), d3(methanol).get_forces()])
    calculator = parts(with_d3._calculator)[0]
    for atoms, own in ((crystal, forces[:8]), (methanol, forces[8:])):
        copy = atoms.copy()
        copy.calc = calculator
        np.testing.assert_allclose(own, copy.get_forces(), rtol=0, atol=1e-5)
    copy = crystal.copy()
    copy.calc = calculator
    stress = copy.get_stress(voigt=False) + d3(crystal).get_stress(voigt=False)
    np.testing.assert_allclose(both.closed_stress[0].numpy(), stress, rtol=0, atol=1e-6)
    assert both.closed_stress[1].isnan().all()


class Smeared(Calculator):
    """Its forces derive from the free energy; its energy depends on a charge that ASE does not compare."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = None) -> None:
        super().calculate(atoms, properties, system_changes)
        energy = 1.0 + self.atoms.info.get("charge", 0)
        forces = np.zeros((len(self.atoms), 3))
        self.results = {"energy": energy, "free_energy": energy - 0.25, "forces": forces, "stress": np.zeros(6)}


class Program(FileIOCalculator):
    """A code that writes a file into its working folder."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, output_file: str, **kwargs: Any) -> None:
        super().__init__(command=f"{sys.executable} -c \"open('{output_file}', 'x')\"", **kwargs)
        self.output_file = output_file

    def read_results(self) -> None:
        assert [file.name for file in Path(self.directory).iterdir()] == [self.output_file]
        self.results = {"energy": 2.0, "forces": np.zeros((len(self.atoms), 3)), "stress": np.zeros(6)}


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)(__name__)
    module.__dict__.update(globals())
    monkeypatch.setitem(sys.modules, __name__, module)


def made_of(*calculators: dict[str, Any]) -> dict[str, Any]:
    return {"import_path": SUM, "arguments": {"calcs": list(calculators)}}


def own(name: str, **arguments: Any) -> dict[str, Any]:
    return {"import_path": f"{__name__}.{name}", "arguments": arguments}


@pytest.mark.usefixtures("importable")
def test_every_part_of_a_sum_is_recalculated_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = made_of(
        own("Smeared"), made_of(own("Smeared"), own("Program", output_file="a"), own("Program", output_file="b"))
    )
    backbone = load_backbone(CalculatorSettings(kind="calculator", features=SEVENNET, **chosen))
    neutral, ion = molecule("H2O"), molecule("H2O")
    ion.info["charge"] = 1
    # Two smeared parts whose forces derive from 0.75 eV (1.75 eV for the ion), and two programs of 2 eV.
    assert backbone.evaluate([neutral, ion, neutral]).energy.tolist() == pytest.approx([5.5, 7.5, 5.5])
    assert list(tmp_path.iterdir()) == []
