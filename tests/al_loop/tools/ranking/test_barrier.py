"""The hop of an adatom between two hollows, against EMT's own path."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import FIRE
from rich.console import Console

from al_loop.cli.ranking_tables import print_barrier
from al_loop.config.settings import LabelSettings
from al_loop.errors import GuardStop, InputError
from al_loop.records import GateCheck
from al_loop.stages.label.direct import Labeller
from al_loop.tools.ranking.barrier import find_barrier
from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.dft_labels import label_barrier
from al_loop.tools.ranking.settings import BarrierOptions, RelaxOptions
from committee import CommitteePotential, CommitteeSettings

IMAGES = 3
QUICK = BarrierOptions(images=IMAGES, force_tolerance_eV_per_A=0.08, steps=60, relax=RelaxOptions(0.05, 60))


def printed(barrier: Barrier) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_barrier(barrier, console)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def barrier(copper, make_adatom, make_hopped, held_out) -> Barrier:
    return find_barrier(make_adatom("hollow"), make_hopped(), copper, QUICK, labelled=held_out)


@pytest.fixture(scope="module")
def true_path(make_adatom, make_hopped) -> list[float]:
    """Energies along EMT's own band, eV above the initial end."""
    ends = [make_adatom("hollow"), make_hopped()]
    for end in ends:
        end.calc = EMT()
        FIRE(end, logfile=None).run(fmax=0.01)
    images = [ends[0], *(ends[0].copy() for _ in range(IMAGES)), ends[1]]
    for image in images[1:-1]:
        image.calc = EMT()
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate("idpp", mic=True, apply_constraint=True)
    FIRE(band, logfile=None).run(fmax=0.02, steps=300)
    energies = [image.get_potential_energy() for image in images]
    return [energy - energies[0] for energy in energies]


def test_the_barrier_is_that_of_emt(barrier: Barrier, true_path: list[float]) -> None:
    assert barrier.converged
    assert max(true_path) > 0.3
    assert barrier.forward_eV == pytest.approx(max(true_path), abs=0.05)
    assert abs(barrier.forward_eV - max(true_path)) < 2 * barrier.half_width_eV
    assert barrier.saddle == 2
    assert barrier.reaction_eV == pytest.approx(0, abs=0.01)
    assert barrier.reverse_eV == pytest.approx(barrier.forward_eV, abs=0.01)


def test_its_uncertainty_is_the_spread_of_the_difference(barrier: Barrier) -> None:
    saddle, initial = (barrier.images[i].gated.prediction for i in (barrier.saddle, 0))
    spread = np.std(saddle.energy_ensemble - initial.energy_ensemble, ddof=1)
    assert barrier.uncertainty_eV == pytest.approx(barrier.scale.value * spread)
    assert barrier.images[0].uncertainty_eV == 0
    assert 0 < barrier.uncertainty_eV < 0.2


def test_every_image_is_judged_and_fixed_atoms_stay(barrier: Barrier, make_adatom) -> None:
    assert [image.gated.verdict.check is GateCheck.UNCALIBRATED for image in barrier.images] == [False] * (IMAGES + 2)
    fixed = make_adatom("hollow").positions[:4]
    for image in barrier.images:
        np.testing.assert_allclose(image.atoms.positions[:4], fixed, atol=1e-9)
    lengths = [image.path_A for image in barrier.images]
    assert lengths == sorted(lengths)
    assert 2.0 < lengths[-1] < 4.0


def test_ends_saddle_and_its_neighbours_are_sent(barrier: Barrier) -> None:
    reasons = {image.image: image.reason for image in barrier.images if image.sent}
    assert "the highest image" in reasons[2]
    assert all("next to the highest image" in reasons[i] for i in (1, 3))
    assert "initial state" in reasons[0]
    assert "final state" in reasons[4]


def test_a_saddle_that_is_not_trusted_is_said_to_be_so(barrier: Barrier, copper) -> None:
    strict = replace(copper.calibration, trust_threshold=1e-6, latent_threshold=1e-6)
    ends = barrier.images[0].atoms, barrier.images[-1].atoms
    one = replace(QUICK, images=1, steps=1, relax=None)
    doubted = find_barrier(*ends, copper.with_calibration(strict), one)
    assert not doubted.saddle_trusted
    assert any("the highest image (1) is not trusted" in note for note in doubted.notes)
    assert all("suspect: force uncertainty" in image.reason for image in doubted.images)
    assert "; its saddle image is not trusted" in printed(doubted)
    generous = replace(copper.calibration, trust_threshold=1e3, discard_threshold=1e4, latent_threshold=1e3)
    trusted = find_barrier(*ends, copper.with_calibration(generous), one)
    assert trusted.saddle_trusted
    assert not any("not trusted" in note for note in trusted.notes)
    unknown = find_barrier(*ends, copper.with_calibration(None), one)
    assert any("never calibrated" in note for note in unknown.notes)


def test_a_band_that_is_not_relaxed_is_said_to_be_so(barrier: Barrier, copper) -> None:
    ends = barrier.images[0].atoms, barrier.images[-1].atoms
    hasty = replace(QUICK, force_tolerance_eV_per_A=1e-4, steps=1, relax=None)
    found = find_barrier(*ends, copper, hasty)
    assert not found.converged
    assert any("the NEB is not converged" in note for note in found.notes)
    json.dumps(found.as_dict(), allow_nan=False)


def test_dft_has_the_last_word(barrier: Barrier, true_path: list[float], tmp_path, ask_emt) -> None:
    settings = LabelSettings.model_validate({"engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}})
    with Labeller(settings, tmp_path) as labeller:
        labelled = label_barrier(barrier, labeller)
        few = replace(
            barrier,
            images=tuple(replace(i, sent=i.image in (0, 1), reason="") for i in barrier.images),
        )
        followed = label_barrier(few, labeller)
    zero = ask_emt(barrier.images[0].atoms)[0]
    assert labelled.dft_saddle == barrier.saddle
    assert labelled.dft_forward_eV == pytest.approx(ask_emt(barrier.images[2].atoms)[0] - zero, abs=1e-6)
    assert labelled.dft_forward_eV == pytest.approx(max(true_path), abs=0.03)
    assert labelled.dft_reaction_eV == pytest.approx(0, abs=0.01)
    assert f"DFT along the same path: barrier {labelled.dft_forward_eV:.3f} eV, image 2." in printed(labelled)
    # From one image on the way up, neighbours are labelled until the maximum lies between labels.
    assert followed.dft_saddle == 2
    assert followed.images[3].labelled is not None
    assert followed.images[4].labelled is None


def test_a_label_that_fails_leaves_the_committees_barrier(barrier: Barrier, tmp_path) -> None:
    engine = {"engine": "ase", "calculator": "failing_calculators.FailingEMT", "arguments": {"how": "leave"}}
    settings = LabelSettings.model_validate({"engine": engine, "retry": {"tries": 1}})
    with Labeller(settings, tmp_path) as labeller:
        labelled = label_barrier(barrier, labeller)
    assert labelled.dft_forward_eV is None
    assert labelled.forward_eV == barrier.forward_eV
    assert any("DFT gave no label for image 0" in note for note in labelled.notes)
    assert any("there is no barrier from DFT" in note for note in labelled.notes)


def test_a_molecule_may_turn_between_its_ends(copper) -> None:
    """Ammonia turns inside out, under SevenNet-0 with random priors for a spread."""
    potential = CommitteePotential.untrained(
        copper.backbone, CommitteeSettings(members=4, hidden_channels=8, prior_scale_eV=0.05)
    )
    initial = molecule("NH3")
    final = initial.copy()
    final.positions[:, 2] *= -1
    turned = final.copy()
    turned.rotate(70, (1, 2, 3))
    turned.translate([1.0, 2.0, 3.0])
    options = BarrierOptions(images=1, force_tolerance_eV_per_A=0.1, steps=40, relax=RelaxOptions(0.05, 100))
    straight, round_about = (find_barrier(initial, end, potential, options) for end in (final, turned))
    assert straight.converged
    assert round_about.converged
    assert straight.forward_eV > 0.05
    assert straight.uncertainty_eV > 0
    assert round_about.forward_eV == pytest.approx(straight.forward_eV, abs=0.02)
    assert round_about.images[-1].path_A == pytest.approx(straight.images[-1].path_A, abs=0.1)
    planar = straight.images[1].atoms.positions
    assert np.linalg.svd(planar - planar.mean(axis=0))[1][2] == pytest.approx(0, abs=0.05)


def test_without_a_barrier_there_is_none_to_find(barrier: Barrier, copper) -> None:
    initial = barrier.images[0].atoms
    beside = initial.copy()
    beside.positions[-1, 2] += 0.08
    with pytest.raises(GuardStop, match="the same minimum"):
        find_barrier(initial, beside, copper, replace(QUICK, relax=RelaxOptions(0.05, 60)))


def test_an_end_that_breaks_is_named(copper, make_adatom, make_hopped) -> None:
    inside = make_hopped()
    inside.positions[-1] = inside.positions[5] + [0, 0, 0.3]
    with pytest.raises(GuardStop, match=r"FINAL does not relax under the model.*close contact"):
        find_barrier(make_adatom("hollow"), inside, copper, QUICK)


def test_ends_with_unknown_elements_or_other_atoms_are_refused(copper, make_adatom) -> None:
    with pytest.raises(InputError, match="INITIAL is Cu9 and FINAL Cu8"):
        find_barrier(make_adatom("hollow"), make_adatom("hollow")[:-1], copper, QUICK)
    unknown = Atoms("Og2", [[0, 0, 0], [3, 0, 0]])
    with pytest.raises(InputError, match="hold Og, which the model"):
        find_barrier(unknown, unknown, copper, QUICK)
