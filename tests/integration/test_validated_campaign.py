"""A campaign whose candidates have to pass a validation before they are served."""

import json
import shutil

import pytest
from ase.build import bulk
from ase.io import write

pytestmark = pytest.mark.long

CHECKS = ["relaxation", "equation-of-state"]


def test_validation_gates_promotion(small_campaign):
    campaign = small_campaign()
    folder = campaign.config.parent
    write(folder / "copper.extxyz", bulk("Cu", cubic=True))
    answered = campaign.call(
        *("validate", campaign.config, folder / "copper.extxyz", "--checks", ",".join(CHECKS)),
        *("--reference", folder / "emt.yaml", "--output", folder / "copper.json", "--quiet"),
    )
    assert answered.returncode == 2
    assert "emt.yaml" in answered.stderr
    (folder / "emt.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    answered = campaign.call(
        *("validate", campaign.config, folder / "copper.extxyz", "--checks", ",".join(CHECKS)),
        *("--reference", folder / "emt.yaml", "--output", folder / "copper.json", "--quiet"),
    )
    assert answered.returncode in (0, 3), answered.stderr  # whatever the foundation is worth
    reference = folder / "copper-reference.json"
    assert reference.exists()
    shutil.rmtree(campaign.folder, ignore_errors=True)

    required = {"structures": ["copper.extxyz"], "reference": reference.name, "checks": CHECKS}
    loose = {"tolerances": dict.fromkeys(("lattice_constant", "volume", "bulk_modulus", "bond_length", "other"), 10.0)}
    promoted = small_campaign(promote={"validation": required}, validation=loose)
    promoted.finish()
    assert criterion(promoted)["passed"]
    shutil.rmtree(promoted.folder)

    tight = {"tolerances": dict.fromkeys(("lattice_constant", "volume", "bulk_modulus", "bond_length"), 1e-6)}
    refused = small_campaign(promote={"validation": required}, validation=tight)
    refused.finish()
    assert not criterion(refused)["passed"]
    assert not refused.status()["rounds"][0]["promoted"]
    assert "validation" in json.dumps(refused.status()["rounds"][0])


def criterion(campaign):
    (found,) = [c for c in campaign.status()["rounds"][0]["criteria"] if c["name"] == "validation"]
    return found
