"""Constraints in rankings and barriers."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixedLine, FixInternals, FixScaled, Hookean

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.files.structures import read_structures
from al_loop.tools.ranking.dft_relax import Labelled
from al_loop.tools.ranking.output import write_ranking
from al_loop.tools.ranking.path import check_ends, relaxed_band
from al_loop.tools.ranking.ranking import rank_candidates
from al_loop.tools.ranking.relax import relaxed
from al_loop.tools.ranking.settings import BarrierOptions, RankOptions, RelaxOptions
from dft_interfaces.label import Label, LabelStatus

QUICK = RelaxOptions(steps=6)


def test_a_relaxation_holds_each_component_and_gives_the_constraints_back(copper, make_adatom):
    start = make_adatom("hollow", 0.2)
    constraints = [FixAtoms([0, 1]), FixCartesian([2], (True, False, True)), FixScaled([3], (False, True, True))]
    start.set_constraint(constraints)
    end = relaxed(start, copper, QUICK, PhysicsSettings())
    way = np.abs(end.atoms.positions - start.positions)
    assert (way[:2] == 0).all()
    assert (way[2, [0, 2]] == 0).all()
    assert (way[3, 1:] == 0).all()
    assert way[4:].max() > 1e-3
    assert [type(c) for c in end.atoms.constraints] == [type(c) for c in constraints]


@pytest.mark.parametrize(
    ("constraint", "relax", "words"),
    [
        (FixAtoms([0]), RelaxOptions(cell=True), r"candidate 1, Cu4, holds FixAtoms .*; leave out --cell"),
        (
            FixInternals(bonds=[[None, [0, 1]]]),
            QUICK,
            "candidate 1, Cu4, holds FixInternals, which nothing here follows",
        ),
        (Hookean(0, 1, 1.0, rt=1.0), QUICK, "its energy would be missing in what is compared"),
        (FixAtoms([0, 1, 2, 3]), QUICK, "so that nothing would move"),
    ],
)
def test_a_ranking_refuses_what_its_relaxation_cannot_follow(copper, constraint, relax, words):
    frames = [bulk("Cu", cubic=True), bulk("Cu", cubic=True)]
    frames[1].set_constraint(constraint)
    with pytest.raises(InputError, match=words):
        rank_candidates(frames, copper, RankOptions(relax=relax))


def test_a_ranking_keeps_every_constraint_in_its_file(copper, tmp_path):
    frames = [bulk("Cu", cubic=True), bulk("Cu", cubic=True, a=3.65)]
    frames[1].set_constraint(FixedLine([0], [1, 1, 0]))
    write_ranking(tmp_path / "ranked.extxyz", rank_candidates(frames, copper, RankOptions()))
    found = {int(atoms.info["candidate"]): atoms for atoms in read_structures(tmp_path / "ranked.extxyz")}
    assert not found[0].constraints
    (line,) = found[1].constraints
    assert isinstance(line, FixedLine)
    assert line.index.tolist() == [0]
    np.testing.assert_allclose(line.dir, [0.5**0.5, 0.5**0.5, 0], atol=1e-12)


def ends(make_adatom, make_hopped, *constraints):
    found = make_adatom("hollow"), make_hopped()
    for atoms in found:
        atoms.set_constraint([constraint.copy() for constraint in constraints])
    return found


def test_ends_must_agree_in_each_held_direction(make_adatom, make_hopped):
    check_ends(*ends(make_adatom, make_hopped, FixCartesian([8], (False, True, False)), FixAtoms([0])))
    with pytest.raises(InputError, match=r"atom 8 is fixed in a direction, but FINAL has it 2\.553 Å away"):
        check_ends(*ends(make_adatom, make_hopped, FixCartesian([8], (True, False, False))))
    initial, final = ends(make_adatom, make_hopped, FixAtoms([0]))
    final.set_constraint(FixCartesian([0], (True, True, False)))
    with pytest.raises(InputError, match="fix different atoms, or directions of them"):
        check_ends(initial, final)
    final.set_constraint([FixAtoms([0]), FixAtoms([])])  # the same in other words
    check_ends(initial, final)
    with pytest.raises(InputError, match=r"INITIAL holds FixBondLengths \(2 atoms\), which a nudged elastic band"):
        check_ends(*ends(make_adatom, make_hopped, FixBondLengths([[0, 1]])))


def test_a_band_holds_components_in_every_image(copper, make_adatom, make_hopped):
    constraints = FixAtoms([0, 1, 2, 3]), FixScaled([8], (False, True, False))
    initial, final = ends(make_adatom, make_hopped, *constraints)
    band = relaxed_band(initial, final, copper, replace(BarrierOptions(), images=2, steps=4))
    for image in band.images:
        way = image.positions - initial.positions
        np.testing.assert_allclose(way[:4], 0, atol=1e-12)
        assert way[8, 1] == pytest.approx(0, abs=1e-12)
        assert [type(constraint) for constraint in image.constraints] == [FixAtoms, FixScaled]
    assert abs(band.images[1].positions[8, 0] - initial.positions[8, 0]) > 0.1


def test_the_largest_force_is_that_of_what_can_move(make_adatom):
    atoms = make_adatom("hollow")
    forces = np.zeros((9, 3))
    forces[0], forces[8] = [9, 9, 9], [0.0, 3.0, 0.4]
    atoms.set_constraint([FixAtoms([0]), FixCartesian([8], (False, True, False))])
    label = Label(LabelStatus.CONVERGED, "x", energy_eV=-1.0, forces_eV_per_A=forces)
    assert Labelled(atoms, label).max_force_eV_per_A == pytest.approx(0.4)
    assert (label.forces_eV_per_A[0] == 9).all()
