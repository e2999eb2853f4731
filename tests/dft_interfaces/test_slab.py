"""Which structures are slabs, where a dipole correction can act, and which faces differ."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, mx2

from dft_interfaces.geometry.slab import correction_problem, faces_differ, slab_of
from dft_interfaces.settings import EspressoSettings, GPAWSettings, VASPSettings

CORRECTED = {"dipole_correction": True}


def metal(vacuum_A=12.0, adsorbate=None):
    slab = fcc111("Cu", (2, 2, 3), a=3.6)
    if adsorbate is not None:
        add_adsorbate(slab, adsorbate, 1.8, "ontop")
    slab.center(vacuum=vacuum_A / 2, axis=2)
    slab.pbc = True
    return slab


def crossing_the_border(slab):
    slab.positions[:, 2] += slab.cell.lengths()[2] / 2
    slab.wrap()
    assert np.ptp(slab.positions[:, 2]) > 12
    return slab


def boxed(name, vacuum_A=5.0):
    return molecule(name, vacuum=vacuum_A, pbc=True)


def sheet(structure):
    structure.center(vacuum=6, axis=2)
    structure.pbc = True
    return structure


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_middle_of_the_vacuum_is_found_at_any_position_of_the_slab(axis):
    order = {0: [2, 0, 1], 1: [0, 2, 1], 2: [0, 1, 2]}[axis]
    slab = metal()
    slab.set_cell(slab.cell.array[order])
    found = slab_of(slab)
    assert (found.axis, found.vacuum_A) == (axis, pytest.approx(12.0))
    assert found.vacuum_middle % 1.0 == pytest.approx(0.0, abs=1e-9) or found.vacuum_middle == pytest.approx(1.0)
    across = slab_of(crossing_the_border(metal()))
    assert across.vacuum_middle == pytest.approx(0.5)
    assert across.middle == pytest.approx(0.0)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Cu", cubic=True),
        bulk("C", "hcp", a=2.46, c=6.7),
        bulk("Cs", "bcc", a=6.1),
        boxed("H2O"),
        Atoms("H", cell=[9, 9, 9], pbc=True),
        fcc111("Cu", (1, 1, 3), vacuum=6),  # periodic in the plane only: the engines refuse it
        molecule("H2O"),
    ],
    ids=str,
)
def test_bulks_and_molecules_are_no_slabs(atoms):
    assert slab_of(atoms) is None
    assert GPAWSettings(engine="gpaw", **CORRECTED).corrected_slab(atoms) is None


def test_too_little_vacuum_and_a_tilted_vector_are_named():
    assert correction_problem(metal(8.1), slab_of(metal(8.1))) is None
    thin, tilted = metal(7.0), metal()
    assert "received a slab with 7.0 Å between its atoms along c, expected at least 8 Å" in correction_problem(
        thin, slab_of(thin)
    )
    cell = tilted.cell.array
    cell[2, 0] += 1.0
    tilted.set_cell(cell)
    assert slab_of(tilted).vacuum_A == pytest.approx(12.0)
    assert "tilted by" in correction_problem(tilted, slab_of(tilted))
    for settings in (GPAWSettings(engine="gpaw", **CORRECTED), VASPSettings(engine="vasp", **CORRECTED)):
        assert list(settings.objections(metal())) == []
        (objection,) = settings.objections(thin)
        assert objection.about == "dipole_correction"
        (objection,) = settings.objections(tilted)
        assert "expected a right angle" in objection.text
        assert list(settings.model_copy(update={"dipole_correction": False}).objections(thin)) == []


def test_a_label_states_whether_its_structure_was_corrected():
    corrected = GPAWSettings(engine="gpaw", **CORRECTED)
    assert corrected.slab_remark(metal()).startswith("dipole correction along c")
    assert corrected.slab_remark(boxed("H2O")) == "is calculated without dipole correction: vacuum along a, b, c"
    assert corrected.slab_remark(bulk("Cu")) == ""
    assert GPAWSettings(engine="gpaw").slab_remark(metal()) == ""


def test_across_the_vacuum_one_k_point_is_enough():
    corrected, plain = (EspressoSettings(engine="espresso", kpoint_density_A=40, **each) for each in (CORRECTED, {}))
    assert plain.kpoint_mesh(metal())[2] == 3
    assert corrected.kpoint_mesh(metal()) == (*plain.kpoint_mesh(metal())[:2], 1)
    assert corrected.kpoint_mesh(bulk("Cu")) == plain.kpoint_mesh(bulk("Cu"))


def test_vasp_corrects_no_charged_slab_and_takes_its_tags_from_one_place():
    slab = metal()
    slab.info["charge"] = 1
    (objection,) = VASPSettings(engine="vasp", **CORRECTED).objections(slab)
    assert "charge +1" in objection.text
    assert list(VASPSettings(engine="vasp").objections(slab)) == []
    with pytest.raises(ValueError, match=r"received LDIPOL, IDIPOL beside dipole_correction: true"):
        VASPSettings(engine="vasp", incar={"LDIPOL": True, "IDIPOL": 3}, **CORRECTED)


def janus():
    sheet_ = sheet(mx2("MoS2", "2H", a=3.2, thickness=3.2))
    sheet_.symbols[sheet_.positions[:, 2].argmax()] = "Se"
    return sheet_


def hot(slab):
    slab.rattle(0.03, seed=2)
    return slab


@pytest.mark.parametrize(
    ("slab", "differ"),
    [
        (metal(), False),
        (hot(metal()), False),
        (crossing_the_border(metal()), False),
        (metal(adsorbate=molecule("CO")), True),
        (crossing_the_border(metal(adsorbate="H")), True),
        (sheet(graphene()), False),
        (sheet(mx2("MoS2", "2H", a=3.2, thickness=3.2)), False),
        (janus(), True),
    ],
)
def test_faces_differ_where_a_dipole_may_be(slab, differ):
    assert faces_differ(slab, slab_of(slab)) is differ
