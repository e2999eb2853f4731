"""Sites of an adatom ranked by a real committee, against EMT."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.optimize import FIRE

from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.records import VerdictKind
from al_loop.stages.label.direct import Labeller
from al_loop.tools.ranking.dft_labels import label_ranking
from al_loop.tools.ranking.ranking import rank_candidates
from al_loop.tools.ranking.ranking_results import CandidateStatus, Ranking
from al_loop.tools.ranking.settings import RankOptions, RelaxOptions
from committee import CommitteePotential, CommitteeSettings
from dft_interfaces.label import LabelStatus

SITES = ("bridge", "hollow", "ontop")


@pytest.fixture(scope="module")
def candidates(make_adatom) -> list[Atoms]:
    """Three sites, a hollow that has not relaxed yet, one atom inside another, and another composition."""
    beside, inside = make_adatom("hollow"), make_adatom("hollow")
    beside.positions[-1, 0] += 0.25
    inside.positions[-1] = inside.positions[5] + [0, 0, 0.3]
    return [*(make_adatom(site) for site in SITES), beside, inside, make_adatom("hollow")[:-1]]


@pytest.fixture(scope="module")
def ranking(copper, candidates, held_out) -> Ranking:
    options = RankOptions(top=1, relax=RelaxOptions(force_tolerance_eV_per_A=0.05, steps=60))
    return rank_candidates(candidates, copper, options, labelled=held_out)


def by_number(ranking: Ranking) -> dict[int, object]:
    return {one.candidate: one for one in ranking.candidates}


def relaxed_by_emt(atoms: Atoms) -> float:
    own = atoms.copy()
    own.calc = EMT()
    FIRE(own, logfile=None).run(fmax=0.01, steps=300)
    return own.get_potential_energy()


def test_the_true_best_is_among_what_is_sent(ranking, candidates) -> None:
    true = [relaxed_by_emt(candidates[i]) for i in range(3)]
    found = by_number(ranking)
    best = found[int(np.argmin(true))]
    representative = best if best.same_as is None else found[best.same_as]
    assert representative.sent
    order = [one.candidate for one in ranking.candidates if one.rank is not None and one.composition == "Cu9"]
    assert [0 if i in (1, 3) else i + 1 for i in order] == [0, 1, 3]  # hollow, bridge, on top


def test_energies_above_the_best_are_those_of_emt(ranking, candidates) -> None:
    true = {site: relaxed_by_emt(candidates[i]) for i, site in enumerate(SITES)}
    found = by_number(ranking)
    for number, site in ((0, "bridge"), (2, "ontop")):
        one = found[number]
        assert one.above_best_eV == pytest.approx(true[site] - true["hollow"], abs=max(4 * one.uncertainty_eV, 0.01))


def test_clearly_worse_sites_are_not_sent(ranking) -> None:
    found = by_number(ranking)
    assert not found[0].sent
    assert not found[2].sent
    assert found[2].probability_top < 0.01


def test_what_relaxed_into_the_same_structure_is_merged(ranking) -> None:
    by_candidate = {one.candidate: one for one in ranking.candidates if one.candidate in (1, 3)}
    (twin,) = [one for one in by_candidate.values() if one.status is CandidateStatus.DUPLICATE]
    assert {twin.candidate, twin.same_as} == {1, 3}
    assert "the same structure as candidate" in twin.reason


def test_what_is_broken_is_told_apart_and_not_sent(ranking) -> None:
    broken = by_number(ranking)[4]
    assert (broken.status, broken.rank, broken.sent) == (CandidateStatus.UNPHYSICAL, None, False)
    assert "close contact" in broken.reason


def test_nothing_is_dropped_and_compositions_are_ranked_apart(ranking, candidates) -> None:
    assert sorted(by_number(ranking)) == list(range(len(candidates)))
    assert by_number(ranking)[5].rank == 1
    assert [one.name for one in ranking.compositions] == ["Cu9", "Cu8"]
    assert any("2 compositions (Cu9, Cu8)" in note and "formation energies" in note for note in ranking.notes)


def test_the_candidates_are_left_alone(ranking, candidates, make_adatom) -> None:
    np.testing.assert_array_equal(candidates[1].positions, make_adatom("hollow").positions)
    assert all(atoms.calc is None for atoms in candidates)


def test_an_ambiguous_pair_is_sent_together(copper, make_adatom) -> None:
    """Two heights of one adatom, no farther apart than the model is sure of, and one on top."""
    frames = [make_adatom("hollow"), make_adatom("hollow", 0.09), make_adatom("ontop")]
    found = by_number(rank_candidates(frames, copper, RankOptions(top=1)))
    assert [found[i].sent for i in range(3)] == [True, True, False]
    assert "not distinguishable from candidate 0" in found[1].reason
    assert found[2].above_best_eV > 3 * found[2].uncertainty_eV  # far from the labels its uncertainty is larger


def test_an_uncalibrated_model_ranks_and_says_what_that_is_worth(copper, make_adatom) -> None:
    ranking = rank_candidates([make_adatom(site) for site in SITES], copper.with_calibration(None), RankOptions(top=1))
    assert [one.status for one in ranking.candidates] == [CandidateStatus.RANKED] * 3
    assert {one.gated.verdict.kind for one in ranking.candidates} == {VerdictKind.SUSPECT}
    assert any("never calibrated" in note for note in ranking.notes)
    assert any("not calibrated" in note for note in ranking.notes)


def test_far_from_all_labels_a_rank_is_a_guess(copper) -> None:
    squeezed = [bulk("Cu", a=a, cubic=True) for a in (3.0, 3.1)]
    ranking = rank_candidates(squeezed, copper, RankOptions(top=1))
    assert {one.status for one in ranking.candidates} <= {CandidateStatus.UNTRUSTED, CandidateStatus.UNPHYSICAL}


def test_what_is_not_relaxed_has_no_rank_and_is_told_if_it_is_low(copper, make_adatom) -> None:
    beside = make_adatom("hollow")
    beside.positions[-1, 0] += 0.25
    frames = [make_adatom("bridge"), beside]
    relax = RelaxOptions(force_tolerance_eV_per_A=0.06, steps=3)
    found = by_number(rank := rank_candidates(frames, copper, RankOptions(top=1, relax=relax)))
    assert found[1].status is CandidateStatus.UNRELAXED
    assert "eV/Å left after 3 steps" in found[1].reason
    assert found[1].rank is None
    if found[0].rank is not None:
        assert any("candidates [1] of Cu9 are not relaxed" in note for note in rank.notes)


@pytest.mark.parametrize("relax", [None, RelaxOptions(steps=1)])
def test_what_no_model_could_answer_for_is_told_apart(copper, make_adatom, relax) -> None:
    nowhere, flat = make_adatom("hollow"), make_adatom("hollow")
    nowhere.positions[3, 0] = np.nan
    flat.cell[1] = 0.0
    far, anion = make_adatom("hollow"), make_adatom("hollow")
    far.positions[3, 0] = 1e30
    anion.info["charge"] = -(10**6)
    frames = [nowhere, make_adatom("ontop"), flat, far, anion]
    found = by_number(rank_candidates(frames, copper, RankOptions(relax=relax)))
    assert [found[i].status for i in (0, 2, 3, 4)] == [CandidateStatus.UNPHYSICAL] * 4
    assert "received a length of 1e+30 Å" in found[3].reason
    assert "received charge -1e+06" in found[4].reason
    assert "NaN" in found[0].reason
    assert "spans no volume" in found[2].reason
    assert not found[0].sent


def test_a_cell_is_relaxed_where_that_was_asked_for(copper) -> None:
    wide = bulk("Cu", a=3.72, cubic=True)
    relax = RelaxOptions(force_tolerance_eV_per_A=0.05, steps=40, cell=True, optimizer="lbfgs")
    (one,) = rank_candidates([wide], copper, RankOptions(relax=relax)).candidates
    assert one.relaxation.converged
    assert one.atoms.cell.lengths()[0] < 3.70
    fixed = RelaxOptions(force_tolerance_eV_per_A=0.05, steps=40)
    (one,) = rank_candidates([wide], copper, RankOptions(relax=fixed)).candidates
    assert one.atoms.cell.lengths()[0] == pytest.approx(3.72)


def test_bad_input_is_refused_before_computing(copper, make_adatom) -> None:
    with pytest.raises(InputError, match="no candidates"):
        rank_candidates([], copper)
    with pytest.raises(InputError, match="hold Og, which the model"):
        rank_candidates([Atoms("Og", cell=[5, 5, 5], pbc=True)], copper)
    with pytest.raises(InputError, match="candidate 0 is not periodic in three directions"):
        rank_candidates([molecule("H2O")], copper, RankOptions(relax=RelaxOptions(cell=True)))
    untrained = CommitteePotential.untrained(copper.backbone, CommitteeSettings(members=2))
    with pytest.raises(InputError, match="never trained"):
        rank_candidates([make_adatom("hollow")], untrained)


def test_dft_has_the_last_word(ranking, tmp_path, ask_emt) -> None:
    settings = LabelSettings.model_validate({"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}})
    with Labeller(settings, tmp_path) as labeller:
        labelled = label_ranking(ranking, labeller)
        again = label_ranking(ranking, labeller, dft_steps=40, force_tolerance_eV_per_A=0.02)
    sent = [one for one in labelled.candidates if one.sent]
    assert {one.candidate for one in sent if one.dft is not None} == {one.candidate for one in ranking.sent}
    assert all(one.labels == () for one in labelled.candidates if not one.sent)
    for one in sent:
        assert one.dft.energy_eV == pytest.approx(ask_emt(one.atoms)[0], abs=1e-6)
        assert one.dft_rank == 1
        assert one.dft_above_best_eV == 0
    relaxed = next(one for one in again.candidates if one.composition == "Cu9" and one.sent)
    assert relaxed.dft.max_force_eV_per_A <= 0.02
    assert len(relaxed.labels) > 1
    assert relaxed.labels[0].energy_eV > relaxed.dft.energy_eV
    assert 0 < relaxed.as_dict()["dft_moved_A"] < 0.2
    assert len(list((tmp_path / "results").iterdir())) >= len(relaxed.labels)


def test_a_label_that_fails_is_a_value(ranking, tmp_path) -> None:
    engine = {"engine": "ase", "calculator": "failing_calculators.FailingEMT", "arguments": {"how": "leave"}}
    settings = LabelSettings.model_validate({"engine": engine, "retry": {"tries": 1}})
    with Labeller(settings, tmp_path) as labeller:
        labelled = label_ranking(ranking, labeller)
    sent = [one for one in labelled.candidates if one.sent]
    assert {one.labels[0].label.status for one in sent} == {LabelStatus.FAILED}
    assert all(one.dft is None and one.dft_rank is None for one in sent)
    assert sent[0].as_dict()["dft_status"] == "failed"
