"""Vectors as initial magnetic moments are refused by engines that do not calculate them, never dropped."""

import pytest
from ase.build import bulk
from pydantic import TypeAdapter

from dft_interfaces.engines import build_engine
from dft_interfaces.files.atoms_json import atoms_as_dict, atoms_from_dict
from dft_interfaces.label import Failure, LabelStatus
from dft_interfaces.settings import EngineSettings

EMT = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}


@pytest.fixture
def canted():
    nickel = bulk("Ni", cubic=True)
    nickel.set_initial_magnetic_moments(None)
    nickel.set_initial_magnetic_moments([[0, 0, 0.6], [0, 0.6, 0], [0.6, 0, 0], [0, 0, -0.6]])
    return nickel


@pytest.mark.parametrize(
    "block", [{"engine": name} for name in ("gpaw", "espresso", "vasp", "pyscf", "tblite")] + [EMT]
)
def test_engines_object_to_vectors_and_not_to_numbers(canted, block):
    settings = TypeAdapter(EngineSettings).validate_python(block)
    collinear = bulk("Ni", cubic=True)
    collinear.set_initial_magnetic_moments([0.6] * 4)
    assert "received non-collinear moments" in next(settings.objections(canted)).text
    assert not any("non-collinear" in objection.text for objection in settings.objections(collinear))


def test_the_label_of_vectors_is_rejected_unless_the_calculator_takes_them(canted):
    refused = build_engine(TypeAdapter(EngineSettings).validate_python(EMT)).label(canted)
    assert (refused.status, refused.failure) == (LabelStatus.REJECTED, Failure.UNSUITABLE)
    assert "non-collinear" in refused.message
    taken = build_engine(TypeAdapter(EngineSettings).validate_python({**EMT, "noncollinear_moments": True})).label(
        canted
    )
    assert taken.status is LabelStatus.CONVERGED


def test_vectors_travel_to_an_engine_s_process(canted):
    travelled = atoms_from_dict(atoms_as_dict(canted)).get_initial_magnetic_moments()
    assert (travelled == canted.get_initial_magnetic_moments()).all()
