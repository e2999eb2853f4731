"""The commands that read labels, on outputs of DFT codes as people have them."""

import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from dft_outputs import calculated, outcar, vasprun
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.tools.preflight.load_config import load_config

CONFIG = """
name: c
folder: {folder}/run
foundation: {{kind: sevennet, model: 7net-0}}
systems: [{{file: cu.cif}}]
explore: {{temperatures_K: [300], timestep_fs: 1.0, steps: 10, check_every: 5}}
label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
align: {{other_labels: [{{file: {file}, level: "PBE, VASP", align: shifts}}]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    steps = calculated(9, fourth="Cu")
    for name, part in (("a", steps[:4]), ("b", steps[4:8])):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "OUTCAR").write_text(outcar(part, [True, True, False, True]))
    (tmp_path / "vasprun.xml").write_text(vasprun(steps[8:], [4]))
    write("cu.cif", bulk("Cu", cubic=True))
    return tmp_path


def invoke(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_predict_reads_folders_and_files_and_says_what_is_left_out(folder: Path) -> None:
    code, told, said = invoke("predict", "runs", "vasprun.xml", "--foundation", "sevennet:7net-0", "--json")
    assert code == 0, said
    assert json.loads(told)["frames"] == 7
    assert "runs/a/OUTCAR: left out 1 of 4 steps (3)" in said
    assert "runs/b/OUTCAR: left out 1 of 4 steps (3)" in said


def test_validate_takes_several_references(folder: Path) -> None:
    words = ("validate", "emt", "cu.cif", "--reference", "runs/*/OUTCAR", "--reference", "vasprun.xml", "--json")
    code, told, said = invoke(*words)
    assert code == 0, said
    rows = {row["quantity"]: row for row in json.loads(told)["quantities"] if row["check"] == "frames"}
    assert rows["force error"]["emt"] == pytest.approx(0, abs=1e-4)
    assert "left out 1 of 4 steps" in said
    (folder / "engine.yaml").write_text("engine: ase\ncalculator: ase.calculators.emt.EMT\n")
    code, _, said = invoke("validate", "emt", "cu.cif", "--reference", "engine.yaml", "--reference", "runs")
    assert code == 2
    assert "received an engine (engine.yaml) and 1 more; give only one of them" in said


def test_train_refuses_a_folder_of_failures_before_a_model_is_loaded(folder: Path) -> None:
    (folder / "none").mkdir()
    words = ("train", "runs", "none", "--foundation", "sevennet:7net-0", "--to", "model")
    assert "the folder none holds no file of labelled frames" in invoke(*words)[2]
    words = ("train", "runs", "--calibrate", "no*", "--foundation", "sevennet:7net-0", "--to", "model")
    assert "matches 1 paths and no file" in invoke(*words)[2] or "holds no file of labelled frames" in invoke(*words)[2]


@pytest.mark.parametrize("file", ["runs", "runs/**/OUTCAR", "[runs, vasprun.xml]"])
def test_other_labels_are_files_folders_and_patterns_beside_the_config(folder: Path, file: str) -> None:
    path = folder / "c.yaml"
    path.write_text(CONFIG.format(folder=folder, file=file))
    (entry,) = load_config(path).align.other_labels
    assert all(given.is_absolute() for given in entry.paths)
    path.write_text(CONFIG.format(folder=folder, file="elsewhere/*"))
    code, _, said = invoke("check-config", str(path))
    assert code == 2
    assert "align.other_labels[0].file: nothing matches the pattern" in said
