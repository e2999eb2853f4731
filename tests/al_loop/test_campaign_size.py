"""What could never run is refused before anything is computed; what could is estimated."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.tools.preflight.campaign_size import CampaignSize, campaign_size, check_machine
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.redaction import holds_password

BASE: dict[str, Any] = {
    "name": "test",
    "folder": "run",
    "rounds": 2,
    "foundation": {"kind": "sevennet"},
    "systems": [{"file": "copper.extxyz", "strains": [-0.02, 0.02]}],
    "explore": {"temperatures_K": [300, 600, 900], "steps": 100, "check_every": 10, "replicas": 5},
    "label": {"workers": 0, "engine": {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sizes")
    write(path / "copper.extxyz", bulk("Cu", cubic=True))
    return path


def config_file(folder: Path, block: str = "", **keys: Any) -> Path:
    data = {**BASE, **({block: {**BASE.get(block, {}), **keys}} if block else keys)}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


NEVER: dict[str, tuple[str, dict[str, Any]]] = {
    "replicas": ("explore", {"replicas": 10**9}),
    "steps": ("explore", {"steps": 10**15}),
    "a step of no length": ("explore", {"timestep_fs": 1e-300}),
    "friction": ("explore", {"friction_per_ps": 1e300}),
    "thermostat": ("explore", {"bussi_relaxation_fs": 1e-300}),
    "pressure": ("explore", {"pressure_GPa": 1e300, "ensemble": "npt"}),
    "temperature": ("explore", {"temperatures_K": [1e300]}),
    "rattle": ("explore", {"rattle_A": 1e300}),
    "batches": ("explore", {"batches": 10**9}),
    "learning rate": ("train", {"learning_rate": 1e300}),
    "no learning": ("train", {"learning_rate": 1e-300}),
    "epochs": ("train", {"epochs": 10**15}),
    "weight": ("train", {"energy_weight": 1e300}),
    "directions": ("train", {"random_directions": 10**9}),
    "members": ("committee", {"members": 10**9}),
    "channels": ("committee", {"hidden_channels": 10**9}),
    "test frames": ("hold_out", {"test_frames": 10**9}),
    "labels": ("select", {"labels_per_round": 10**12}),
    "rounds": ("", {"rounds": 10**9}),
    "threads": ("", {"threads": 10**9}),
    "suspects that never wait": ("watch", {"suspects": 10**6}),
    "lease": ("label", {"lease_s": 1e300}),
    "workers": ("label", {"workers": 10**9}),
}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"charge": -(10**6)}, "systems[0].charge: received charge -1e+06"),
        ({"charge": -1000, "supercell": [2, 2, 2]}, "systems[0].charge: received charge -1000"),
        ({"initial_magnetic_moments": {"Cu": 1e6}}, "systems[0].initial_magnetic_moments: received an initial"),
        ({"initial_magnetic_moments": [0, 0, 0, 21]}, "expected at most 20 µB"),
        ({"supercell": [10**9, 1, 1]}, "systems[0].supercell"),
    ],
)
def test_a_structure_that_nobody_has_is_refused(folder: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        load_config(config_file(folder, systems=[{"file": "copper.extxyz", **keys}]))


@pytest.mark.parametrize("kind", NEVER)
def test_what_could_never_run_is_refused_with_its_key(folder: Path, kind: str) -> None:
    block, keys = NEVER[kind]
    result = CliRunner().invoke(app, ["check-config", str(config_file(folder, block, **keys))])
    assert result.exit_code == 2, result.output
    key = f"{block}.{next(iter(keys))}".strip(".")
    assert f"{key}: received" in result.output
    assert "Traceback" not in result.output


def test_each_number_may_be_and_their_product_may_not(folder: Path) -> None:
    for keys, said in (
        ({"replicas": 50_000}, "explore.replicas: received 50000, which makes 300,000 trajectories in each round"),
        ({"steps": 10**9, "check_every": 10**7, "replicas": 30}, "years of exploring on 1 thread"),
        ({"steps": 10**6, "check_every": 1, "replicas": 100}, "explore.check_every: received 1, which makes"),
    ):
        with pytest.raises(InputError, match=said):
            load_config(config_file(folder, "explore", **keys))


def test_the_estimate_counts_all_trajectories(folder: Path) -> None:
    size = campaign_size(load_config(config_file(folder)))
    assert size.trajectories == 2 * 3 * 5
    held_out = 2 * 2 * 3 * 100
    assert size.atom_steps == 4 * (2 * 30 * 100 + held_out)
    assert size.frames == (2 * 30 + 2 * 6) * 11
    assert size.exploring_s == pytest.approx(0.01 * size.atom_steps)
    assert 1.0 < size.memory_GB < 1.1
    more = campaign_size(load_config(config_file(folder, "hold_out", test_frames=660)))
    assert more.atom_steps == size.atom_steps + 4 * 6 * (110 * 10 - 100)  # 110 frames of each need 1100 steps


def test_a_fit_that_fits_into_no_memory_is_refused_and_small_ones_are_not(folder: Path) -> None:
    large = bulk("Cu", cubic=True) * (5, 5, 5)
    write(folder / "large.extxyz", large)
    data = {"rounds": 100, "select": {"labels_per_round": 2000}, "train": {"exact_up_to_atoms": 1000}}
    config = load_config(config_file(folder, systems=[{"file": "large.extxyz"}], **data))
    with pytest.raises(InputError, match=r"needs about .* GB of memory, and this machine has .* Lower"):
        check_machine(config, campaign_size(config))
    disk = CampaignSize(1, 1.0, 1.0, 1.0, 1, memory_GB=0.1, disk_GB=1e9)
    with pytest.raises(InputError, match=r"folder: the campaign writes about 1e\+09 GB"):
        check_machine(config, disk)
    small = load_config(config_file(folder))
    check_machine(small, campaign_size(small))


def test_check_config_says_what_it_takes_and_writes_nothing(folder: Path) -> None:
    path = config_file(folder)
    before = sorted(folder.rglob("*"))
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 0, result.output
    assert "It takes about 5 min to explore on 1 thread(s)" in result.output
    assert "30 trajectories a round" in result.output
    assert "at most 56 labels" in result.output
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:hunter2@host/al_loop",
        "mongodb+srv://me:hunter2@host/al_loop?tls=true",
        "mongodb://host/al_loop?tls=true&tlsCertificateKeyFilePassword=hunter2",
    ],
)
def test_a_password_in_the_config_is_refused_and_not_repeated(folder: Path, uri: str) -> None:
    path = config_file(folder, "store", uri=uri)
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 2
    assert "store.uri: received" in result.output
    assert "store.uri_file" in result.output
    assert "hunter2" not in result.output


def test_a_uri_without_a_password_may_stand_there(folder: Path) -> None:
    for uri in (
        "mongodb://host:27017/al_loop",
        "mongodb://me@host/?authMechanism=MONGODB-X509",
        "mongodb://%2Ftmp%2Fx",
    ):
        assert not holds_password(uri)
        assert load_config(config_file(folder, "store", uri=uri)).store.uri == uri


def test_every_number_of_the_config_has_an_upper_bound_or_a_reason() -> None:
    """Those without one are tolerances, which a large number switches off, or are compared with the structures."""
    elsewhere = ("validation.tolerances.", "systems.", "hold_out.never_trained.")
    unbounded = {key for key in _unbounded(Config, "") if not key.startswith(elsewhere)}
    assert unbounded == {
        "align.accept_residual_spread_eV_per_atom",
        "align.isolated_atoms_eV",
        "explore.relaxed_below_eV_per_A",
        "gate.discard_factor",
        "gate.force_tolerance_eV_per_A",
        "label.engine.hubbard_U_eV",
        "label.outliers.energy_eV_per_atom",
        "label.outliers.forces_eV_per_A",
        "label.outliers.spreads",
        "label.outliers.stress_eV_per_A3",
        "physics.max_energy_change_eV_per_atom",
        "physics.max_nve_drift_eV_per_atom_ps",
        "physics.max_temperature_ratio",
        "physics.max_volume_ratio",
        "promote.far_latent_distance",
        "promote.max_energy_ratio",
        "promote.max_error_ratio",
        "promote.max_rise",
        "stop.label_core_hours",
        "stop.labels",
        "stop.time_to_suspect_ps",
        "validation.force_tolerance_eV_per_A",
    }


def _unbounded(model: Any, prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inside = list(_inside(field.annotation))
        blocks = [one for one in inside if hasattr(one, "model_fields")]
        for block in blocks:
            yield from _unbounded(block, f"{prefix}{name}.")
        bounded = any(hasattr(data, kind) for data in field.metadata for kind in ("le", "lt"))
        if {int, float} & set(inside) and not blocks and not bounded and get_origin(field.annotation) is not tuple:
            yield f"{prefix}{name}"


def _inside(annotation: Any) -> Iterator[Any]:
    for one in get_args(annotation):
        yield from _inside(one)
    yield annotation
