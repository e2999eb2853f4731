from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml

from committee.settings import FairchemSettings
from committee.sevennet_names import FETCHED, SHIPPED
from dft_interfaces.levels.calculator_levels import calculator_level, calculator_mode
from dft_interfaces.levels.foundation_levels import differences, foundation_level
from dft_interfaces.levels.foundation_table import (
    CHGNET_MODELS,
    MATERIALS_PROJECT_U_EV,
    MPTRJ,
    OC20,
    OMAT24,
    OMC25,
    OMOL25,
    PFP_MODES,
    SEVENNET_MODELS,
    UMA_TASKS,
)
from dft_interfaces.levels.functional_names import functional_and_dispersion
from dft_interfaces.levels.level_of_theory import LevelOfTheory

CONFIG = Path(__file__).parents[2] / "configs" / "pfp.yaml"

OMAT_LEVEL = LevelOfTheory(
    code="vasp",
    summary="PBE(+U), OMat24 settings",
    functional="PE",
    hubbard_U_eV={f"{symbol}-3d": value for symbol, value in MATERIALS_PROJECT_U_EV.items()},
    basis={"cutoff_eV": 520.0},
    spin="polarised",
)
GPAW_PBE = LevelOfTheory(
    code="gpaw",
    summary="PBE, plane waves 600 eV",
    functional="PBE",
    basis={"mode": "plane waves", "cutoff_eV": 600.0},
    spin="polarised where initial moments are given",
)


def topics(level, foundation, elements=None):
    return [sentence.partition(":")[0] for sentence in differences(level, foundation, elements)]


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("PBE", ("pbe", "")),
        ("pbe,pbe", ("pbe", "")),
        ("GGA_X_PBE+GGA_C_PBE", ("pbe", "")),
        ("PE", ("pbe", "")),
        ("PBE+U", ("pbe", "")),
        ("PBE(+U)", ("pbe", "")),
        ("PBE-D3(BJ)", ("pbe", "d3(bj)")),
        ("pbe-d3bj", ("pbe", "d3(bj)")),
        ("RP", ("rpbe", "")),
        ("GGA_X_RPBE+GGA_C_PBE", ("rpbe", "")),
        ("r²SCAN", ("r2scan", "")),
        ("MGGA_X_R2SCAN + MGGA_C_R2SCAN", ("r2scan", "")),
        ("ωB97M-V", ("wb97m-v", "")),
        ("wb97m_v", ("wb97m-v", "")),
        ("HYB_MGGA_XC_WB97M_V", ("wb97m-v", "")),
        ("wB97M-D3BJ", ("wb97m", "d3(bj)")),
        ("wB97X-D", ("wb97x-d", "")),
        ("B3LYP-D4", ("b3lyp", "d4")),
        ("hse06", ("hse06", "")),
    ],
)
def test_functionals_have_one_name_in_every_spelling(spelling, expected):
    assert functional_and_dispersion(spelling) == expected


@pytest.mark.parametrize("spelling", ["D3(BJ)", "d3bj", "D3-BJ", "DFT-D3(BJ)"])
def test_dispersion_has_one_name_in_every_spelling(spelling):
    assert functional_and_dispersion("PBE", spelling) == ("pbe", "d3(bj)")


def test_dispersion_named_beside_a_functional_that_contains_it_changes_nothing():
    assert functional_and_dispersion("wb97m-v", "VV10") == functional_and_dispersion("ωB97M-V")


def test_every_task_that_the_config_can_name_is_in_the_table():
    tasks = get_args(FairchemSettings.model_fields["task_name"].annotation)
    assert tasks
    assert all(foundation_level("fairchem", "uma-s-1p2p1", task) is UMA_TASKS[task] for task in tasks)


def test_every_sevennet_name_is_in_the_table():
    assert set(SEVENNET_MODELS) == {*SHIPPED, *FETCHED}


@pytest.mark.parametrize("shipped", sorted(SHIPPED))
def test_shipped_sevennet_checkpoints_have_the_fidelities_of_the_table(shipped):
    import torch
    from sevenn.util import pretrained_name_to_path

    stored = torch.load(pretrained_name_to_path(shipped), weights_only=False, map_location="cpu")["config"]
    assert set(SEVENNET_MODELS[shipped]) == {name.lower() for name in stored.get("_modal_map") or [""]}


@pytest.mark.parametrize(
    ("model", "mode", "name"),
    [
        ("SevenNet-0", None, "MPtrj"),
        ("7net-0_11July2024", None, "MPtrj"),
        ("7net-mf-0", "R2SCAN", "Materials Project r2SCAN"),
        ("7net-mf-ompa", "mpa", "MPtrj and sAlex"),
        ("7net-omni", "mp r2scan", "Materials Project r2SCAN"),
    ],
)
def test_sevennet_levels_are_found_by_name_and_fidelity(model, mode, name):
    level = foundation_level("sevennet", model, mode)
    assert level is not None
    assert level.name == name


@pytest.mark.parametrize(
    ("kind", "model", "mode"),
    [
        ("sevennet", "my/checkpoint.pth", None),
        ("sevennet", "7net-mf-0", None),
        ("sevennet", "7net-0", "PBE"),
        ("fairchem", "uma-s-1p2p1", None),
        ("calculator", "ase.calculators.emt.EMT", None),
        ("calculator", "pfp_api_client.pfp.calculators.ase_calculator.ASECalculator", None),
        ("else", "7net-0", None),
    ],
)
def test_an_unknown_foundation_is_none(kind, model, mode):
    assert foundation_level(kind, model, mode) is None


def test_pfp_is_found_from_its_config():
    config = yaml.safe_load(CONFIG.read_text())["foundation"]
    mode = calculator_mode(config["arguments"])
    assert foundation_level("calculator", config["import_path"], mode) is PFP_MODES["pbe"]


def test_pfp_modes_are_found_as_members_and_by_their_former_names():
    member = {"import_path": "pfp_api_client.pfp.estimator.EstimatorCalcMode.CRYSTAL"}
    mode = calculator_mode({"estimator": {"arguments": {"calc_mode": member}}})
    level = foundation_level("calculator", "pfp_api_client.any", mode)
    assert level is PFP_MODES["pbe_u"]
    assert "Cu" in level.hubbard_U_eV
    assert foundation_level("calculator", "pfp_api_client.any", "CRYSTAL_PLUS_D3").dispersion == "D3"


def added(**changes):
    """The foundation of configs/dispersion.yaml, with other arguments of its D3."""
    config = yaml.safe_load((CONFIG.parent / "dispersion.yaml").read_text())["foundation"]
    correction = config["arguments"]["calcs"][1]["arguments"]
    correction |= changes
    return config["import_path"], config["arguments"]


PBE_D3 = replace(GPAW_PBE, dispersion="D3(BJ)")


def test_d3_that_a_sum_adds_is_that_of_the_labels():
    level = calculator_level(*added())
    assert (level.functional, level.dispersion, level.code) == ("PBE", "D3(BJ)", "vasp")
    assert "Dispersion" not in topics(PBE_D3, level)
    assert "Dispersion" in topics(GPAW_PBE, level)
    assert "Dispersion" in topics(PBE_D3, MPTRJ)
    assert "Dispersion" in topics(PBE_D3, calculator_level(*added(damping="d3zero")))


@pytest.mark.parametrize(
    ("tweaks", "fragment"),
    [
        ({"method": "revPBE", "atm": False}, "has the parameters of revPBE, the labels those of PBE"),
        ({"method": "PBE"}, "contains the three-body term"),
    ],
)
def test_d3_of_another_functional_or_with_another_term_is_named(tweaks, fragment):
    (sentence,) = [s for s in differences(PBE_D3, calculator_level(*added(params_tweaks=tweaks))) if "Dispersion" in s]
    assert fragment in sentence


def test_d3_on_a_foundation_that_contains_it_is_counted_twice():
    path, arguments = added()
    arguments["calcs"][0] = {
        "import_path": "pfp_api_client.pfp.calculators.ase_calculator.ASECalculator",
        "arguments": {"estimator": {"import_path": "any.Estimator", "arguments": {"calc_mode": "PBE_PLUS_D3"}}},
    }
    (sentence,) = [s for s in differences(PBE_D3, calculator_level(path, arguments)) if "Dispersion" in s]
    assert "counts it twice (D3 + D3(BJ))" in sentence


def test_a_sum_of_unknown_calculators_is_none():
    path, arguments = added()
    arguments["calcs"][0] = {"import_path": "ase.calculators.emt.EMT", "arguments": {}}
    assert calculator_level(path, arguments) is None
    assert calculator_level(path, {"calcs": []}) is None


def test_chgnet_names_are_those_of_its_wheel():
    import chgnet

    shipped = {path.name for path in (Path(chgnet.__file__).parent / "pretrained").iterdir() if path.is_dir()}
    assert set(CHGNET_MODELS) == shipped
    assert foundation_level("calculator", "chgnet.model.dynamics.CHGNetCalculator") is MPTRJ
    loaded = {"import_path": "chgnet.model.CHGNet.load", "arguments": {"model_name": "r2scan"}}
    r2scan = calculator_mode({"model": loaded})
    assert foundation_level("calculator", "chgnet.model.dynamics.CHGNetCalculator", r2scan).functional == "r2SCAN"


def test_u_values_are_those_of_pymatgen():
    from pymatgen.io.vasp.sets import MPRelaxSet

    for anion in ("O", "F"):
        assert MPRelaxSet.CONFIG["INCAR"]["LDAUU"][anion] == dict(MATERIALS_PROJECT_U_EV)


def test_the_same_level_differs_in_nothing():
    assert differences(OMAT_LEVEL, OMAT24) == []


def test_another_code_at_the_same_functional_mostly_shifts():
    sentences = differences(GPAW_PBE, OMAT24, {"Si"})
    assert topics(GPAW_PBE, OMAT24, {"Si"}) == ["Code", "Total energies"]
    assert "shifts energies per element" in sentences[0]
    assert "alignment" in sentences[1]


def test_a_dipole_correction_on_one_side_only_is_named():
    slabs = replace(GPAW_PBE, functional="RPBE", spin="none", code="vasp", basis={})
    corrected = replace(slabs, more={"dipole_correction": "slabs"})
    by_tags = replace(slabs, more={"incar": {"LDIPOL": True, "IDIPOL": 3}})
    assert "Dipole correction" not in topics(slabs, OC20)
    assert "Dipole correction" in topics(corrected, OC20)
    assert "Dipole correction" in topics(by_tags, OC20)
    assert "Dipole correction" not in topics(corrected, OMAT24)  # it holds no slabs
    (sentence,) = [s for s in differences(slabs, UMA_TASKS["oc25"]) if s.startswith("Dipole")]
    assert "the data of the foundation have it on slabs, the labels do not" in sentence


def test_missing_u_is_named_only_where_it_acts():
    assert "+U" in topics(GPAW_PBE, OMAT24, {"Ni", "O"})
    assert "+U" not in topics(GPAW_PBE, OMAT24, {"Ni", "Al"})
    assert "+U" not in topics(GPAW_PBE, OMAT24, {"Mg", "O"})
    sentence = next(s for s in differences(GPAW_PBE, OMAT24) if s.startswith("+U"))
    assert "no U" in sentence
    assert "6.2 eV" in sentence


def test_another_u_is_named_with_both_values():
    level = replace(OMAT_LEVEL, hubbard_U_eV={"Ni-3d": 4.0})
    (sentence, _) = differences(level, OMAT24, {"Ni", "O"})
    assert "U = 4 eV" in sentence
    assert "U = 6.2 eV" in sentence


def test_u_that_is_tied_to_an_anion_counts_only_beside_it():
    level = replace(OMAT_LEVEL, hubbard_U_eV={"Ni-d with O": 4.0, "Ni-d with F": 4.0})
    assert topics(level, OMAT24, {"Ni", "O"}) == ["+U", "Total energies"]
    assert topics(level, OMAT24, {"Ni", "Al"}) == []


def test_u_that_the_foundation_lacks_is_named():
    assert "+U" in topics(OMAT_LEVEL, PFP_MODES["pbe"], {"Fe", "O"})


def test_another_functional_needs_more_labels():
    level = replace(OMAT_LEVEL, functional="RP", hubbard_U_eV={})
    sentence = differences(level, OMAT24, {"Cu"})[0]
    assert sentence.startswith("Functional")
    assert "more labels" in sentence


def test_dispersion_is_compared_with_its_damping():
    plain = replace(OMAT_LEVEL, spin="none")
    missing = differences(plain, OMC25)[0]
    assert missing.startswith("Dispersion: the foundation contains D3(zero), the labels do not")
    assert topics(replace(plain, dispersion="d3zero"), OMC25) == []
    assert "small" in differences(replace(plain, dispersion="D3(BJ)"), OMC25)[0]
    assert "none" in differences(replace(OMAT_LEVEL, dispersion="D3(BJ)"), OMAT24)[0]
    assert "Dispersion" not in topics(replace(plain, dispersion="D3(BJ)"), PFP_MODES["pbe_plus_d3"])


def test_spin_polarised_labels_on_an_unpolarised_foundation_are_named():
    level = replace(OMAT_LEVEL, functional="RPBE", hubbard_U_eV={}, basis={"cutoff_eV": 350.0})
    assert topics(level, OC20) == ["Spin", "Total energies"]
    assert topics(replace(level, spin="none"), OC20) == []


def test_cutoff_and_basis_are_compared_within_a_code():
    assert topics(replace(OMAT_LEVEL, basis={"cutoff_eV": 680.0}), OMAT24) == ["Cutoff", "Total energies"]
    orca = LevelOfTheory(code="orca", summary="", functional="wB97M-V", basis={"basis": "def2-TZVPD"}, spin="UKS")
    assert topics(orca, OMOL25) == []
    assert topics(replace(orca, basis={"basis": "def2-SVP"}), OMOL25) == ["Basis", "Total energies"]


def test_an_engine_without_a_functional_leaves_the_judgement_to_the_user():
    level = LevelOfTheory(code="ase", summary="SevenNetCalculator(model=7net-l3i5)")
    assert topics(level, MPTRJ) == ["Functional", "Code", "Total energies"]
