"""Every bad config gives one readable message, exit code 2, and leaves the disk as it was."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.config.file import KINDS, config_schema, template_text
from al_loop.config.strict_yaml import read_yaml
from al_loop.errors import InputError
from al_loop.tools.preflight.checks import check_elements
from al_loop.tools.preflight.load_config import load_config
from committee.errors import UnknownElementError
from committee.settings import CalculatorSettings, TrainingSettings
from dft_interfaces.engines import build_engine
from dft_interfaces.settings import EspressoSettings

CONFIGS = Path(__file__).parents[2] / "configs"
MINIMAL: dict[str, Any] = {
    "name": "test",
    "folder": "runs/test",
    "foundation": {"kind": "sevennet"},
    "systems": [{"file": "methanol.xyz"}],
    "explore": {"temperatures_K": [300]},
    "label": {"engine": {"engine": "pyscf"}},
}
Edit = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    molecule("CH3OH").write(tmp_path / "methanol.xyz")
    bulk("NaCl", "rocksalt", a=5.64).write(tmp_path / "salt.xyz")
    Atoms().write(tmp_path / "empty.xyz")
    (tmp_path / "broken.xyz").write_text("2\n\nH 0 0 0\n")
    (tmp_path / "notes.txt").write_text("nothing a chemist could use")
    (tmp_path / "nan.xyz").write_text("1\n\nH 0 nan 0\n")
    slab = bulk("Si")
    slab.pbc = (True, True, False)
    slab.write(tmp_path / "slab.xyz")
    flat = bulk("Si")
    flat.set_cell(np.diag([5.0, 5.0, 0.0]))
    flat.write(tmp_path / "flat.xyz")
    (molecule("CH3OH") + molecule("CH3OH")).write(tmp_path / "doubled.xyz")
    Atoms("HX", positions=[[0, 0, 0], [0, 0, 1]]).write(tmp_path / "x.xyz")
    Atoms("OH2", positions=molecule("H2O").positions, cell=[4, 4, 4], pbc=True).write(tmp_path / "ice.xyz")
    (tmp_path / "text.pdf").mkdir()
    return tmp_path


def write(folder: Path, edits: Edit) -> Path:
    data = copy.deepcopy(MINIMAL)
    for dotted, value in edits.items():
        *blocks, key = dotted.split(".")
        place = data
        for block in blocks:
            place = place.setdefault(block, {})
        if value is DELETE:
            del place[key]
        else:
            place[key] = value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


DELETE = object()

BAD: dict[str, tuple[Edit, list[str]]] = {
    "unknown key": ({"explore.temperature_K": 300}, ["explore.temperature_K: unknown key", "'explore.temperatures_K'"]),
    "unknown block": ({"foundations": 3}, ["foundations: unknown key", "did you mean 'foundation'"]),
    "key of another block": ({"steps": 100}, ["steps: unknown key", "'explore.steps'"]),
    "key unlike any": ({"gate.zzz": 1}, ["gate.zzz: unknown key", "valid keys here: confidence, discard_factor"]),
    "unknown key of an engine": ({"label.engine.basiss": "x"}, ["label.engine.basiss", "'label.engine.basis'"]),
    "missing block": ({"explore": DELETE}, ["explore: missing"]),
    "missing name": ({"name": DELETE}, ["name: missing", "Name of the campaign"]),
    "name with a slash": ({"name": "a/b"}, ["name: received 'a/b'", "letters, digits"]),
    "unit on a list": ({"explore.temperatures_K": "300 K"}, ["temperatures_K", "'300 K'", "without a unit", "[300]"]),
    "unit in a list": ({"explore.temperatures_K": ["300 K"]}, ["temperatures_K[0]", "'300 K'", "write 300"]),
    "unit on a number": ({"explore.timestep_fs": "0.5 fs"}, ["timestep_fs", "without a unit", "fs", "write 0.5"]),
    "number for a list": ({"explore.temperatures_K": 300}, ["expected a list, for example [300]", "received 300"]),
    "no temperatures": ({"explore.temperatures_K": []}, ["temperatures_K: received []", "at least one"]),
    "text for a number": ({"explore.steps": "many"}, ["explore.steps: expected a whole number", "'many'"]),
    "fraction for a count": ({"rounds": 2.5}, ["rounds: expected a whole number", "2.5"]),
    "true for a count": ({"committee.members": True}, ["committee.members: expected a finite number", "true"]),
    "number for text": ({"foundation.model": 7}, ["foundation.model: expected text", "received 7"]),
    "list for a block": ({"gate": [1]}, ["gate: expected a block", "[1]"]),
    "null for a block": ({"select": None}, ["select: expected a block", "received nothing"]),
    "name for an engine": ({"label.engine": "pyscf"}, ["label.engine: expected a block", "engine: pyscf"]),
    "negative temperature": ({"explore.temperatures_K": [300, -5]}, ["temperatures_K", "above 0 K", "-5"]),
    "absolute zero": ({"explore.temperatures_K": [0]}, ["temperatures_K", "above 0 K"]),
    "NaN temperature": ({"explore.temperatures_K": [float("nan")]}, ["temperatures_K", "nan"]),
    "infinite friction": ({"explore.friction_per_ps": float("inf")}, ["friction_per_ps", "finite", "inf"]),
    "NaN tolerance": ({"gate.force_tolerance_eV_per_A": float("nan")}, ["force_tolerance_eV_per_A", "nan"]),
    "more members than memory": ({"committee.members": 10**9}, ["committee.members: received 1000000000", "at most"]),
    "K = 1": ({"committee.members": 1}, ["committee.members: received 1", "at least 2"]),
    "percent": ({"gate.confidence": 90}, ["gate.confidence: received 90", "below 1"]),
    "unknown engine": ({"label.engine.engine": "pyscff"}, ["'pyscff'", "did you mean 'pyscf'", "valid: pyscf"]),
    "no engine": ({"label.engine": {}}, ["label.engine.engine: missing", "valid: pyscf"]),
    "unknown foundation": ({"foundation.kind": "mace"}, ["kind 'mace'", "valid: sevennet, fairchem, calculator"]),
    "model that would be fetched": (
        {"foundation.model": "7net-omni"},
        ["foundation.model: the weights of SevenNet's 7net-omni are not in its wheel", "give the path it prints"],
    ),
    "unknown model": ({"foundation.model": "7net-1"}, ["'7net-1'", "did you mean '7net-0'", "7net-l3i5"]),
    "unknown UMA": (
        {"foundation": {"kind": "fairchem", "model": "uma-xl", "task_name": "omat"}},
        ["foundation.model: 'uma-xl'", "uma-s-1p2p1"],
    ),
    "unknown features": (
        {"foundation": {"kind": "calculator", "import_path": "ase.calculators.emt.EMT", "features": {"kind": "mace"}}},
        ["foundation.features.kind: unknown kind 'mace'", "valid: sevennet, fairchem"],
    ),
    "unknown model of features": (
        {
            "foundation": {
                "kind": "calculator",
                "import_path": "ase.calculators.emt.EMT",
                "features": {"kind": "sevennet", "model": "7net-1"},
            }
        },
        ["foundation.features.model: '7net-1'", "did you mean '7net-0'"],
    ),
    "no features": (
        {"foundation": {"kind": "calculator", "import_path": "ase.calculators.emt.EMT"}},
        ["foundation.features: missing"],
    ),
    "unknown key of a calculator": (
        {
            "foundation": {
                "kind": "calculator",
                "import_pth": "x.Y",
                "import_path": "x.Y",
                "features": {"kind": "sevennet"},
            }
        },
        ["foundation.import_pth: unknown key", "did you mean 'foundation.import_path'"],
    ),
    "adaptation of a closed foundation": (
        {
            "foundation": {
                "kind": "calculator",
                "import_path": "ase.calculators.emt.EMT",
                "features": {"kind": "sevennet"},
            },
            "train.adapt": "always",
        },
        ["train.adapt: received always, but the weights of the foundation ase.calculators.emt.EMT are not open"],
    ),
    "adaptation in other words": (
        {"train.adapt": "sometimes"},
        ["train.adapt: unknown value 'sometimes'; valid: auto, never, always"],
    ),
    "no such element": (
        {
            "foundation": {
                "kind": "calculator",
                "import_path": "x.Y",
                "features": {"kind": "sevennet"},
                "elements": ["Natrium"],
            }
        },
        ["foundation.elements: expected symbols such as Na, received Natrium"],
    ),
    "unknown task": (
        {"foundation": {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omoll"}},
        ["foundation.task_name: unknown value 'omoll'", "did you mean 'omol'"],
    ),
    "unknown device": ({"foundation.device": "tpu"}, ["foundation.device", "'tpu'", "cpu, cuda"]),
    "no systems": ({"systems": []}, ["systems: received []", "at least one"]),
    "no such structure": ({"systems": [{"file": "ethanol.xyz"}]}, ["systems[0].file", "ethanol.xyz", "does not exist"]),
    "structure is a folder": ({"systems": [{"file": "text.pdf"}]}, ["systems[0].file", "is a folder"]),
    "structure without atoms": ({"systems": [{"file": "empty.xyz"}]}, ["systems[0].file", "no atoms"]),
    "truncated structure": ({"systems": [{"file": "broken.xyz"}]}, ["systems[0].file", "cannot be read ("]),
    "unknown format": ({"systems": [{"file": "notes.txt"}]}, ["systems[0].file", "notes.txt", "ASE"]),
    "a cell without room": (
        {
            "systems": [{"file": "salt.xyz", "variants": [[{"kind": "strain", "isotropic": -0.49}] * 2]}],
            "label.engine.engine": "gpaw",
        },
        ["systems[0]", "received a cell of 0.39 Å³ per atom, expected at least 0.5 Å³"],
    ),
    "NaN positions": ({"systems": [{"file": "nan.xyz"}]}, ["systems[0].file", "NaN or infinite positions at atoms 0"]),
    "doubled atoms": ({"systems": [{"file": "doubled.xyz"}]}, ["systems[0].file", "0 Å apart", "Remove duplicate"]),
    "placeholder atoms": ({"systems": [{"file": "x.xyz"}]}, ["systems[0].file", "X (no element)"]),
    "flat cell": (
        {"systems": [{"file": "flat.xyz"}], "label.engine.engine": "gpaw"},
        ["systems[0].file", "no volume"],
    ),
    "placeholder": ({"systems": [{"file": "FILL-IN/structure.xyz"}]}, ["systems[0].file", "still a placeholder"]),
    "the same name twice": (
        {"systems": [{"file": "methanol.xyz"}], "hold_out.never_trained": [{"file": "methanol.xyz"}]},
        ["2 structures have the name 'methanol'"],
    ),
    "structure apart is missing": (
        {"hold_out.never_trained": [{"file": "gone.xyz"}]},
        ["hold_out.never_trained[0].file", "does not exist"],
    ),
    "crystal for PySCF": ({"systems": [{"file": "salt.xyz"}]}, ["systems[0].file", "periodic", "gpaw"]),
    "molecule for GPAW": ({"label.engine.engine": "gpaw"}, ["systems[0].file", "all three directions", "pyscf"]),
    "slab for GPAW": (
        {"systems": [{"file": "slab.xyz"}], "label.engine.engine": "gpaw"},
        ["systems[0].file", "[True, True, False]", "vacuum"],
    ),
    "charged crystal for GPAW": (
        {"systems": [{"file": "salt.xyz", "charge": 1}], "label.engine.engine": "gpaw"},
        ["systems[0].charge: received charge +1", "neutral"],
    ),
    "spin of a crystal without moments": (
        {"systems": [{"file": "salt.xyz", "spin_multiplicity": 3}], "label.engine.engine": "gpaw"},
        ["systems[0].spin_multiplicity: received 3", "initial_magnetic_moments"],
    ),
    "no check in a whole trajectory": (
        {"explore.steps": 5, "explore.check_every": 10},
        ["explore.check_every: received 10", "explore.steps (5)"],
    ),
    "oxygen at a low cutoff": (
        {"systems": [{"file": "ice.xyz"}], "label.engine": {"engine": "gpaw", "cutoff_eV": 400}},
        ["label.engine.cutoff_eV: received 400", "at least 600 for a structure with H and O"],
    ),
    "no spin for omol": (
        {"foundation": {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omol"}},
        ["systems[0].spin_multiplicity: missing", "task_name omol", "1 for a closed-shell"],
    ),
    "charge for omat": (
        {
            "foundation": {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omat"},
            "systems": [{"file": "methanol.xyz", "charge": 2}],
        },
        ["systems[0].charge: received 2", "omat knows no charge", "remove the key, or use task_name omol"],
    ),
    "spin for omat": (
        {
            "foundation": {"kind": "fairchem", "model": "uma-s-1p2p1", "task_name": "omat"},
            "systems": [{"file": "methanol.xyz", "spin_multiplicity": 3}],
        },
        ["systems[0].spin_multiplicity: received 3", "omat knows no spin_multiplicity"],
    ),
    "no electrons left": ({"systems": [{"file": "methanol.xyz", "charge": 18}]}, ["systems[0].charge", "18 electrons"]),
    "no folder": ({"folder": ""}, ["folder: received nothing", "such as runs/"]),
    "the root as folder": ({"folder": "/"}, ["folder: received '/', expected a folder of its own"]),
    "the root in other words": ({"folder": "/x/.."}, ["folder: received '/x/..', expected a folder of its own"]),
    "a URI of no database": ({"store.uri": "http://x"}, ["store.uri: received 'http://x', expected", "mongodb://host"]),
    "a folder too long for databases": (
        {"folder": "/" + "x" * 200 + "/" + "y" * 200},
        ["folder: received a path of 402 bytes", "at most 400"],
    ),
    "seed beyond 32 bits": ({"seed": 2**70}, ["seed: received", "below"]),
    "NUL in a path": ({"folder": "a\0b"}, ["folder: received", "NUL"]),
    "strained molecule": ({"systems": [{"file": "methanol.xyz", "strains": [0.1]}]}, ["systems[0].strains", "remove"]),
    "repeated molecule": (
        {"systems": [{"file": "methanol.xyz", "supercell": [2, 1, 1]}]},
        ["systems[0].supercell", "not periodic"],
    ),
    "strain in percent": (
        {"systems": [{"file": "salt.xyz", "strains": [3]}], "label.engine.engine": "gpaw"},
        ["systems[0].strains", "fractions"],
    ),
    "two numbers for a supercell": (
        {"systems": [{"file": "methanol.xyz", "supercell": [2, 1]}]},
        ["systems[0].supercell: too few values", "[2, 1]"],
    ),
    "impossible spin": (
        {"systems": [{"file": "methanol.xyz", "spin_multiplicity": 2}]},
        ["systems[0].spin_multiplicity", "18 electrons", "an odd number"],
    ),
    "more spin than electrons": (
        {"systems": [{"file": "methanol.xyz", "spin_multiplicity": 21}]},
        ["systems[0].spin_multiplicity: 21", "18 electrons", "an odd number up to 19"],
    ),
    "a shell that espresso has no U for": (
        {"label.engine": {"engine": "espresso", "hubbard_U_eV": {"Al-3d": 3.0}}},
        ["label.engine.hubbard_U_eV: received 'Al-3d'"],
    ),
    "neither a partition nor a folder": (
        {"label.queue": {"time_s": 90000}},
        ["label.queue: expected either partition"],
    ),
    "too much charge": ({"systems": [{"file": "methanol.xyz", "charge": 19}]}, ["systems[0].charge", "18 electrons"]),
    "a switching function that ends before it starts": (
        {"committee.switch_end": 2.0},
        ["committee.switch_end must be above switch_start 3", "received 2"],
    ),
    "distances the wrong way round": (
        {"physics.uncomputable_distance_factor": 0.7},
        ["physics.uncomputable_distance_factor", "below physics.min_distance_factor"],
    ),
}

BAD_TEXT: dict[str, tuple[str, list[str]]] = {
    "not YAML": ("name: [unclosed\nfolder: x\n", ["not valid YAML", "line 2"]),
    "a tab": ("name:\n\tfolder: x\n", ["not valid YAML", "line 2"]),
    "a list": ("- name\n- folder\n", ["a list at its top level"]),
    "a word": ("hello\n", ["'hello'", "key: value"]),
    "empty": ("", ["is empty", "al-loop template"]),
    "only comments": ("# nothing\n", ["is empty"]),
    "a duplicate key": ("name: a\nname: b\n", ["'name' is given twice", "line 2"]),
    "a duplicate key inside": ("explore:\n  steps: 1\n  steps: 2\n", ["'steps' is given twice", "line 3"]),
    "an object": ("name: !!python/object/apply:os.getcwd []\n", ["not valid YAML", "python/object"]),
    "control characters": ("name: a\x00b\n", ["not valid YAML"]),
    "an impossible date": ("name: 2024-99-99\n", ["config.yaml"]),
    "itself inside itself": ("a: &a [*a]\n", ["not valid YAML", "Circular"]),
}


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Check load_config and the command line alike; return the message."""
    monkeypatch.chdir(path.parent)
    before = snapshot(path.parent)
    with pytest.raises(InputError) as caught:
        load_config(path)
    for command in ("run", "check-config", "status", "report", "doctor"):
        result = CliRunner().invoke(app, [command, str(path)])
        assert result.exit_code == 2, result.output
        assert str(caught.value) in result.stderr
        assert "Traceback" not in result.output
        assert result.stdout == ""
    assert snapshot(path.parent) == before
    return str(caught.value)


@pytest.mark.parametrize("case", BAD)
def test_bad_value(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits, expected = BAD[case]
    message = refuses(write(folder, edits), monkeypatch)
    for part in expected:
        assert part in message
    assert "problems" not in message  # one cause, one message


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_file(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = BAD_TEXT[case]
    path = folder / "config.yaml"
    path.write_text(text)
    message = refuses(path, monkeypatch)
    for part in expected:
        assert part in message


def make_missing(folder: Path) -> Path:
    return folder / "nowhere.yaml"


def make_folder(folder: Path) -> Path:
    return folder / "text.pdf"


def make_binary(folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [(make_missing, "no config file"), (make_folder, "is a folder"), (make_binary, "its text is not UTF-8")],
)
def test_not_a_config_file(
    make: Callable[[Path], Path], expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected in refuses(make(folder), monkeypatch)


def test_all_problems_at_once(folder: Path) -> None:
    path = write(folder, {"fold": 1, "committee.members": 1, "explore.temperatures_K": "300 K", "seed": -1})
    with pytest.raises(InputError, match="4 problems") as caught:
        load_config(path)
    for part in ("fold: unknown key", "committee.members", "'300 K'", "seed: received -1"):
        assert part in str(caught.value)


def test_several_structures_are_checked_at_once(folder: Path) -> None:
    path = write(folder, {"systems": [{"file": "a.xyz"}, {"file": "empty.xyz"}, {"file": "methanol.xyz"}]})
    with pytest.raises(InputError, match="2 problems") as caught:
        load_config(path)
    assert "systems[0].file" in str(caught.value)
    assert "systems[1].file" in str(caught.value)


def test_adaptation_is_part_of_the_config_but_not_of_the_fit_of_heads(folder: Path) -> None:
    edits: Edit = {"train.epochs": 7, "train.adapt": "always", "train.adaptation": {"method": "low_rank", "rank": 3}}
    config = load_config(write(folder, edits))
    assert (config.train.adaptation.method, config.train.adaptation.rank) == ("low_rank", 3)
    assert Config.model_validate_json(config.model_dump_json()).train == config.train
    assert config.train.fit == TrainingSettings(epochs=7)
    assert load_config(write(folder, {})).train.adapt == "auto"


def test_paths_are_relative_to_the_config_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "weights.pth").write_bytes(b"weights")
    path = write(
        folder,
        {"foundation.model": "weights.pth", "hold_out.never_trained": [{"file": "methanol.xyz", "name": "other"}]},
    )
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = load_config(path)
    assert config.systems[0].file == folder / "methanol.xyz"
    assert config.hold_out.never_trained[0].file == folder / "methanol.xyz"
    assert config.foundation.model == str(folder / "weights.pth")
    assert config.folder == Path("runs/test")
    assert config.systems[0].name == "methanol"


def test_model_files_of_a_calculator_are_relative_to_the_config_file(folder: Path) -> None:
    for name in ("weights.pth", "deep.pt", "mode"):
        (folder / name).write_bytes(b"weights")
    nested = {"import_path": "x.Estimator", "arguments": {"model_path": "deep.pt", "mode": "mode"}}
    foundation = {
        "kind": "calculator",
        "import_path": "x.Y",
        "arguments": {"estimator": nested, "model_paths": ["deep.pt", "elsewhere.pt"]},
        "features": {"kind": "sevennet", "model": "weights.pth"},
    }
    config = load_config(write(folder, {"foundation": foundation}))
    settings = config.foundation
    assert isinstance(settings, CalculatorSettings)
    assert settings.features.model == str(folder / "weights.pth")
    assert settings.arguments["model_paths"] == [str(folder / "deep.pt"), "elsewhere.pt"]
    assert settings.arguments["estimator"]["arguments"] == {"model_path": str(folder / "deep.pt"), "mode": "mode"}


def test_folders_of_an_engine_are_relative_to_the_config_file(folder: Path) -> None:
    bulk("Si").write(folder / "silicon.xyz")
    (folder / "upf").mkdir()
    header = '<PP_HEADER element="Si" pseudo_type="NC" functional="PBE" z_valence="4"/>'
    (folder / "upf" / "Si.upf").write_text(header)
    engine = {"engine": "espresso", "pseudopotentials": "upf"}
    config = load_config(write(folder, {"label.engine": engine, "systems": [{"file": "silicon.xyz"}]}))
    assert isinstance(config.label.engine, EspressoSettings)
    assert config.label.engine.pseudopotentials == folder / "upf"


def test_exponents_are_numbers(folder: Path) -> None:
    path = write(folder, {})
    path.write_text(path.read_text() + "train:\n  learning_rate: 3e-3\n  weight_decay: 1E-4\n")
    assert load_config(path).train.learning_rate == 0.003


def test_exponents_inside_free_form_arguments_are_numbers(folder: Path) -> None:
    path = write(folder, {"label.engine": DELETE})
    engine = "label:\n  engine:\n    engine: ase\n    calculator: ase.calculators.lj.LennardJones\n"
    text = path.read_text().replace("label: {}\n", engine + "    arguments: {epsilon: 1e-2, smooth: true}\n")
    path.write_text(text)
    arguments = load_config(path).label.engine.model_dump()["arguments"]
    assert arguments == {"epsilon": 0.01, "smooth": True}


def test_secrets_of_a_uri_stay_out_of_messages(folder: Path) -> None:
    path = write(folder, {"store.uri": ["mongodb://me:hunter2@host/db"]})
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "store.uri: expected text" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_unknown_elements_are_named(folder: Path) -> None:
    config = load_config(write(folder, {}))
    check_elements(config, {1, 6, 8})
    with pytest.raises(UnknownElementError, match=r"systems\[0\] \(methanol\) holds C, O.*It knows H, He"):
        check_elements(config, {1, 2})


def test_unknown_elements_among_the_never_trained(folder: Path) -> None:
    molecule("SiH4").write(folder / "silane.xyz")
    config = load_config(write(folder, {"hold_out.never_trained": [{"file": "silane.xyz"}]}))
    with pytest.raises(UnknownElementError, match=r"never_trained\[0\] \(silane\) holds Si\."):
        check_elements(config, {1, 6, 8})


@pytest.mark.parametrize(
    ("engine", "symbols", "lacking"),
    [
        ({"engine": "pyscf"}, "CH", []),
        ({"engine": "pyscf", "basis": "6-31g"}, ["C", "Au"], ["Au"]),
        ({"engine": "gpaw"}, ["Si", "Pu"], ["Pu"]),
        ({"engine": "ase", "calculator": "ase.calculators.emt.EMT"}, ["Cu", "Si", "Zn"], ["Si", "Zn"]),
        ({"engine": "ase", "calculator": "ase.calculators.lj.LennardJones"}, ["Cu", "Si"], []),
    ],
)
def test_elements_that_an_engine_lacks(engine: dict[str, Any], symbols: list[str], lacking: list[str]) -> None:
    config = Config.model_validate({**MINIMAL, "label": {"engine": engine}})
    assert build_engine(config.label.engine).unknown_elements(symbols) == lacking


def test_an_element_that_the_engine_lacks_is_told_before_anything_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk("Si").write(folder / "silicon.xyz")
    engine = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
    path = write(folder, {"systems": [{"file": "silicon.xyz"}], "label.engine": engine})
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    for command in ("check-config", "run"):
        result = CliRunner().invoke(app, [command, str(path)])
        assert result.exit_code == 2
        assert "label.engine ase cannot calculate every element: systems[0] (silicon) holds Si" in result.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_fails_loudly_until_it_is_filled(kind: str, folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(template_text(kind))
    with pytest.raises(InputError, match="still a placeholder"):
        load_config(path)
    structure = "salt.xyz" if kind == "crystal" else "methanol.xyz"
    path.write_text(re.sub(r"FILL-IN/structure\.\w+", structure, template_text(kind)))
    assert load_config(path).name.startswith("my-")


def test_the_full_template_shows_every_setting_with_its_default(folder: Path) -> None:
    text = template_text("full").replace("FILL-IN/structure.xyz", str(folder / "methanol.xyz"))
    full = yaml.safe_load(text)
    required = {key: full[key] for key in ("name", "folder", "foundation", "systems", "label")}
    required["label"] = {"engine": {"engine": full["label"]["engine"]["engine"]}}
    required["explore"] = {"temperatures_K": full["explore"]["temperatures_K"]}
    minimal = json.loads(Config.model_validate(required).model_dump_json())
    assert json.loads(Config.model_validate(full).model_dump_json()) == minimal
    assert full.keys() == minimal.keys()
    for block, defaults in minimal.items():
        if isinstance(defaults, dict):
            assert full[block].keys() == defaults.keys(), block
    assert full["label"]["engine"].keys() == minimal["label"]["engine"].keys()
    assert full["systems"][0].keys() == minimal["systems"][0].keys()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    assert load_config(path).name


def test_the_schema_describes_every_block() -> None:
    schema = config_schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == Config.model_fields.keys()
    assert schema["$defs"]["ExploreSettings"]["properties"]["temperatures_K"]["description"].startswith(
        "Temperatures of exploration"
    )
    assert schema["$defs"]["GPAWSettings"]["properties"]["cores"]["description"].startswith("Cores of one")  # inherited


@pytest.mark.parametrize("number", ["0300", "1:30", "-017", "12:30:45", "[0300]"])
def test_numbers_of_another_base_are_refused(tmp_path: Path, number: str) -> None:
    """YAML 1.1 has 0300 for 192 and 1:30 for 90."""
    path = tmp_path / "c.yaml"
    path.write_text(f"name: a\nseed: {number}\n")
    with pytest.raises(InputError, match=r"line 2, column .*of another base in YAML"):
        read_yaml(path)


def test_other_numbers_and_texts_with_zeros_pass(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 0\nb: 0.5\nc: '0300'\nd: 10\ne: -3e-3\nf: 0x1f\ng: a:1\n")
    assert read_yaml(path) == {"a": 0, "b": 0.5, "c": "0300", "d": 10, "e": -3e-3, "f": 31, "g": "a:1"}
