import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from dft_interfaces.engines import build_engine
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import TBLiteSettings
from dft_interfaces.testing import Tolerances, check_engine, check_retry_strategies


def _engine(**settings):
    return build_engine(TBLiteSettings(engine="tblite", **settings))


def _rattled(atoms, amplitude=0.05):
    atoms.rattle(amplitude, seed=1)
    return atoms


@pytest.mark.parametrize("method", ["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"])
def test_the_contract_on_an_open_shell_ion(method, capfd):
    water = _rattled(molecule("H2O"))
    water.info.update(charge=1, spin=2)
    check_engine(_engine(method=method), water, Tolerances(displacement_A=0.003))
    assert capfd.readouterr() == ("", "")


def test_the_contract_in_a_sheared_box():
    crowd = _rattled(molecule("CH3OH"))
    crowd.set_cell([[10.5, 0, 0], [1.5, 10.5, 0], [0.8, -1.2, 10.5]])
    crowd.pbc = True
    crowd.positions += np.array([1.0, 0, 0]) * np.linspace(0, 0.3, len(crowd))[:, None]
    limits = Tolerances(displacement_A=0.003, strain=0.002, stress_eV_per_A3=2e-6)
    assert check_engine(_engine(method="GFN1-xTB"), crowd, limits).stress_eV_per_A3 is not None


def test_small_cells_and_charged_cells_are_refused():
    small = _engine().label(bulk("Si", cubic=True))
    assert small.status is LabelStatus.REJECTED
    assert "5.4 Å apart, expected at least 10 Å" in small.message
    charged = bulk("Si", cubic=True) * (2, 2, 2)
    charged.info["charge"] = 1
    assert "neutral cells only" in _engine().label(charged).message
    slab = bulk("Si", cubic=True)
    slab.pbc = [True, True, False]
    assert "all three" in _engine().label(slab).message


@pytest.mark.parametrize(
    ("symbols", "info", "method"),
    [
        ("H", {"charge": -1, "spin": 3}, "GFN2-xTB"),  # one orbital
        ("He", {"spin": 3}, "GFN1-xTB"),
        ("Li", {"spin": 4}, "GFN2-xTB"),  # one valence electron
    ],
)
def test_electrons_that_xtb_has_no_orbital_for_are_not_dropped_in_silence(symbols, info, method):
    label = _engine(method=method).label(Atoms(symbols, info=info))
    assert (label.status, label.failure) == (LabelStatus.REJECTED, Failure.UNSUITABLE)
    assert "cannot hold" in label.message


@pytest.mark.parametrize("charge", [0.5, None, "one"])
def test_a_charge_that_is_no_number_is_refused(charge):
    box = molecule("H2O", cell=[11, 11, 11], pbc=True)
    box.info["charge"] = charge
    assert _engine().label(box).status is LabelStatus.REJECTED


def test_more_than_one_core_is_refused():
    label = _engine(cores=2).label(molecule("H2O"))
    assert (label.status, label.failure) == (LabelStatus.REJECTED, Failure.UNSUITABLE)
    assert "start more workers" in label.message


def test_too_few_cycles_are_unconverged():
    label = _engine(max_cycles=2).label(_rattled(molecule("H2O")))
    assert (label.status, label.failure) == (LabelStatus.UNCONVERGED, Failure.UNCONVERGED)
    assert "not converged in 2 cycles" in label.message


def test_every_retry_strategy_ends_in_the_same_solution():
    check_retry_strategies(_engine(accuracy=1e-3), _rattled(molecule("CH3CH2OH")), tolerance_eV=1e-6)


def test_the_same_structure_gives_the_same_bits():
    engine, ethanol = _engine(), _rattled(molecule("CH3CH2OH"))
    first, second = engine.label(ethanol), engine.label(ethanol)
    assert first.energy_eV == second.energy_eV
    np.testing.assert_array_equal(first.forces_eV_per_A, second.forces_eV_per_A)


def test_unknown_elements():
    assert _engine().unknown_elements(["U", "H", "Rn"]) == ["U"]
