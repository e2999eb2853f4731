"""Invalid settings of the gate or its budget are refused before anything is computed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import molecule

from al_loop.errors import InputError
from al_loop.tools.preflight.load_config import load_config

CONFIG: dict[str, Any] = {
    "name": "test",
    "folder": "runs/test",
    "foundation": {"kind": "sevennet"},
    "systems": [{"file": "methanol.xyz"}],
    "explore": {"temperatures_K": [300], "steps": 20},
    "label": {"engine": {"engine": "pyscf"}},
}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"gate": {"force_tolerance_eV_per_A": 0}}, ["gate.force_tolerance_eV_per_A", "received 0", "above 0"]),
        ({"gate": {"force_tolerance_eV_per_A": -0.1}}, ["gate.force_tolerance_eV_per_A", "-0.1"]),
        ({"gate": {"confidence": 1.0}}, ["gate.confidence", "below 1"]),
        ({"gate": {"confidence": 0.3}}, ["gate.confidence", "0.5"]),
        ({"gate": {"latent_quantile": 1.2}}, ["gate.latent_quantile", "1.2"]),
        ({"gate": {"discard_factor": 1}}, ["gate.discard_factor"]),
        ({"select": {"labels_per_round": 0}}, ["select.labels_per_round", "received 0", "at least 1"]),
        ({"physics": {"min_distance_factor": 0.3}}, ["physics.uncomputable_distance_factor", "below"]),
        ({"physics": {"max_volume_ratio": 0.9}}, ["physics.max_volume_ratio", "0.9"]),
        ({"physics": {"max_energy_change_eV_per_atom": 0}}, ["physics.max_energy_change_eV_per_atom"]),
        ({"physics": {"max_temperature_K": 200}}, ["physics.max_temperature_K"]),
        ({"physics": {"max_temprature_K": 200}}, ["max_temprature_K", "unknown key", "max_temperature_K"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_value_is_named(block: dict[str, Any], message: list[str], tmp_path: Path) -> None:
    molecule("CH3OH").write(tmp_path / "methanol.xyz")
    path = tmp_path / "campaign.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **block}))
    with pytest.raises(InputError) as caught:
        load_config(path)
    for part in message:
        assert part in str(caught.value)
