"""The criterion of ``promote.validation``: a good candidate passes it, and bad ones fail each in its own way."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from al_loop.config import PromoteSettings
from al_loop.config.validation_settings import ToleranceSettings, ValidationSettings
from al_loop.errors import InputError
from al_loop.stages.promote.promotion import evaluate_candidate
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.preflight.starting import changes
from al_loop.tools.validation.checks import chosen_checks
from al_loop.tools.validation.reference import StoredReference, write_reference
from al_loop.tools.validation.requirement import NAME, RequiredValidation, required_validation, validated
from committee.calculator import CommitteeCalculator
from committee.potential import CommitteePotential

CHECKS = ("relaxation", "equation-of-state")
CONFIG = """
name: copper
folder: run
foundation: {{kind: sevennet}}
systems: [{{file: cu3al.extxyz}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
promote: {{validation: {{structures: [{structure}], reference: {reference}, checks: [{checks}]}}}}
validation: {{force_tolerance_eV_per_A: 0.02}}
"""
SETTINGS = ValidationSettings(force_tolerance_eV_per_A=0.02)


class TrueReference:
    """The source of a reference's results."""

    name, level, pays = "distilled", "the labels' own model", False


def cu3al():
    atoms = bulk("Cu", cubic=True, a=3.6)
    atoms.numbers[0] = 13
    return atoms


@pytest.fixture(scope="session")
def files(laboratory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the labelling model for the crystal."""
    folder = tmp_path_factory.mktemp("validated")
    atoms, checks = cu3al(), chosen_checks(CHECKS, SETTINGS, with_an_engine=False)
    write(folder / "cu3al.extxyz", atoms)
    write(folder / "other.extxyz", bulk("Cu"))
    truth = CommitteeCalculator(laboratory.truth)
    results = [(check, "cu3al", atoms, check.run(atoms, truth)) for check in checks]
    assert not any(values.failure for *_, values in results)
    write_reference(folder / "reference.json", TrueReference(), results)
    return folder


@pytest.fixture(scope="session")
def required(files: Path) -> RequiredValidation:
    checks = chosen_checks(CHECKS, SETTINGS, with_an_engine=False)
    return RequiredValidation(
        {"cu3al": cu3al()}, StoredReference(files / "reference.json"), checks, ToleranceSettings()
    )


def test_a_good_candidate_passes_and_the_foundation_itself_does_not(good, foundation, required):
    passed = validated(good, required)
    assert (passed.name, passed.passed, passed.value, passed.limit) == (NAME, True, 0.0, 0.0)
    assert "0 of 9 comparisons with the labels' own model" in passed.sentence
    failed = validated(foundation, required)
    assert not failed.passed
    assert failed.value == 2
    assert "volume per atom of cu3al: 12.8" in failed.sentence
    assert "the reference 12.1" in failed.sentence


def test_a_candidate_trained_on_forces_of_the_wrong_sign_fails(laboratory, first_labels, required):
    wrong_sign = [
        replace(frame, label=replace(frame.label, forces_eV_per_A=-frame.label.forces_eV_per_A, energy_eV=0.0))
        for frame in first_labels
    ]
    criterion = validated(laboratory.train(wrong_sign, epochs=60), required)
    assert not criterion.passed
    assert criterion.value >= 2
    assert "volume per atom of cu3al" in criterion.sentence


def test_a_candidate_whose_numbers_are_not_finite_fails(good, required):
    heads = deepcopy(good.heads)
    heads.stack.w3.fill_(np.nan)
    undefined = CommitteePotential(good.backbone, good.settings, heads, good.latent, good.shifts, good.provenance)
    criterion = validated(undefined, required)
    assert not criterion.passed
    assert criterion.value == 9


def test_what_cannot_be_compared_is_not_passed(good, required):
    other = replace(required, structures={"other": bulk("Cu")})
    criterion = validated(good, other)
    assert not criterion.passed
    assert "nothing could be compared in relaxation, equation-of-state" in criterion.sentence
    half = replace(required, checks=chosen_checks((*CHECKS, "elasticity"), SETTINGS, with_an_engine=False))
    criterion = validated(good, half)
    assert not criterion.passed
    assert criterion.sentence.endswith("nothing could be compared in elasticity")


def test_it_is_an_eighth_criterion_only_where_the_config_asks(foundation, good, served, evidence, required):
    assert evidence.validation is None  # test_promotion.py has the seven criteria of this
    required_too = replace(evidence, validation=partial(validated, required=required))
    promoted = evaluate_candidate(good, served, required_too, PromoteSettings())
    assert promoted.promoted
    assert [criterion.name for criterion in promoted.criteria][-1] == NAME
    # What is right on frames but wrong about the crystal is not served.
    tight = ToleranceSettings(volume=1e-5)
    strict = partial(validated, required=replace(required, tolerances=tight))
    refused = evaluate_candidate(good, served, replace(evidence, validation=strict), PromoteSettings())
    assert not refused.promoted
    assert refused.reason.startswith("validation: 2 of 9 comparisons")


def written(files: Path, structure="cu3al.extxyz", reference="reference.json", checks="relaxation") -> Path:
    path = files / "campaign.yaml"
    path.write_text(CONFIG.format(structure=structure, reference=reference, checks=checks))
    return path


def test_the_config_names_structures_reference_and_checks(files, good):
    required = required_validation(load_config(written(files, checks="relaxation, equation-of-state")))
    assert required is not None
    assert [check.name for check in required.checks] == list(CHECKS)
    assert validated(good, required).passed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"structure": "nowhere.cif"}, "promote.validation: .*nowhere.cif does not exist"),
        ({"reference": "nowhere.json"}, "promote.validation: reference .*nowhere.json does not exist"),
        ({"structure": "other.extxyz"}, "no candidate could pass: .* has no values for relaxation .*no relaxation"),
        ({"checks": "elasticity"}, "has no values for elasticity"),
        ({"checks": "elasticty"}, "did you mean 'elasticity'"),
    ],
)
def test_a_gate_that_no_candidate_could_pass_is_refused_before_anything_runs(
    files, words: dict[str, str], message: str
):
    with pytest.raises(InputError, match=message):
        load_config(written(files, **words))


def test_a_reference_made_with_other_settings_is_refused(files):
    path = written(files)
    path.write_text(path.read_text().replace("0.02", "0.01"))
    with pytest.raises(InputError, match="has relaxation with other settings"):
        load_config(path)


def test_a_campaign_that_has_begun_may_take_up_the_gate_and_change_its_tolerances(files):
    before, after = load_config(written(files)), written(files)
    after.write_text(after.read_text().replace("0.02}", "0.02, tolerances: {volume: 0.01}}"))
    without = before.model_copy(update={"promote": PromoteSettings()})
    then, now = (config.model_dump(mode="json") for config in (without, load_config(after)))
    found = list(changes(then, now))
    assert sorted(change.key for change in found) == ["promote.validation", "validation.tolerances.volume"]
    assert all(change.allowed for change in found)
