"""``al-loop validate``: references of every kind, what is kept, exit codes, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config.validation_settings import CHECK_NAMES
from al_loop.report.validation import validation_tables
from al_loop.tools.validation.dataset_reference import DatasetReference, _DatasetCalculator

ENGINE = "engine: ase\ncalculator: ase.calculators.emt.EMT\n"
COUNTING = """
from pathlib import Path

from ase.calculators.emt import EMT


class CountingEMT(EMT):
    def calculate(self, *arguments, **words):
        with (Path(__file__).parent / "calls").open("a") as file:
            file.write("x")
        super().calculate(*arguments, **words)


class SoftEMT(EMT):
    '''EMT with bonds three tenths as strong.'''

    def calculate(self, *arguments, **words):
        super().calculate(*arguments, **words)
        self.results = {name: 0.3 * value for name, value in self.results.items()}
"""
CONFIG = """
name: copper
folder: {folder}
foundation: {{kind: sevennet}}
systems: [{{file: fcc.extxyz}}]
explore: {{temperatures_K: [300]}}
label: {{workers: 1, engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
validation: {{checks: [relaxation], tolerances: {{lattice_constant: 1e-9}}}}
"""


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("fcc.extxyz", bulk("Cu"))
    write("bcc.extxyz", bulk("Cu", "bcc", a=2.9))
    Path("engine.yaml").write_text(ENGINE)
    Path("counting_calculators.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


SOFT = "calculator:counting_calculators.SoftEMT"


def test_a_model_that_is_the_reference_passes_and_a_softer_one_is_further_away(folder: Path):
    code, out, _ = invoke("emt", "fcc.extxyz", "bcc.extxyz", "--reference", "engine.yaml", "--foundation", SOFT)
    assert code == 0
    assert "order of energy of Cu: fcc < bcc" in " ".join(out.split())
    assert "Nearest to the reference: emt" in out
    data = json.loads(Path("validation.json").read_text())
    assert data["passed"]
    assert data["complete"]
    rows = {(row["check"], row["structure"], row["quantity"]): row for row in data["quantities"]}
    modulus = rows["equation-of-state", "fcc", "bulk modulus"]
    soft = "counting_calculators.SoftEMT"
    assert modulus[soft] == pytest.approx(0.3 * modulus["reference"], rel=0.02)
    assert modulus["emt: verdict"] == "pass"
    assert modulus[f"{soft}: verdict"] == "fail"
    assert rows["relaxation", "fcc", "a"][f"{soft}: verdict"] == "pass"
    assert {table.title for table in validation_tables(folder)} >= {"quantities", "orders", "models"}


def test_names_with_brackets_are_shown_as_they_are(folder: Path):
    write("cu[red].extxyz", bulk("Cu"), format="extxyz")
    code, out, error = invoke("emt", "cu[red].extxyz", "--reference", "engine.yaml", "--checks", "relaxation")
    assert code == 0, error
    assert "relaxation, cu[red]" in " ".join(out.split())


def test_a_model_that_fails_ends_with_exit_code_3(folder: Path):
    code, out, _ = invoke(SOFT, "fcc.extxyz", "--reference", "engine.yaml", "--json", "--checks", "equation-of-state")
    assert code == 3
    assert json.loads(out)["passed"] is False


def test_nothing_that_was_calculated_is_calculated_again(folder: Path):
    Path("counting.yaml").write_text("engine: ase\ncalculator: counting_calculators.CountingEMT\n")
    words = ("emt", "fcc.extxyz", "--reference", "counting.yaml", "--quiet")
    assert invoke(*words, "--checks", "relaxation") == (0, "", "")
    first = len(Path("calls").read_text())
    assert first > 1
    assert invoke(*words, "--checks", "relaxation")[0] == 0
    assert len(Path("calls").read_text()) == first
    for kept in Path("validation-kept/values").iterdir():  # killed before the check had ended: labels are there
        kept.unlink()
    assert invoke(*words, "--checks", "relaxation")[0] == 0
    assert len(Path("calls").read_text()) == first
    Path("tilted.yaml").write_text(Path("counting.yaml").read_text() + "functional: other\n")  # another level of theory
    assert invoke("emt", "fcc.extxyz", "--reference", "tilted.yaml", "--quiet", "--checks", "relaxation")[0] == 0
    assert len(Path("calls").read_text()) == 2 * first


def test_the_reference_of_an_earlier_validation_holds_for_its_structures_alone(folder: Path):
    assert invoke("emt", "fcc.extxyz", "--reference", "engine.yaml", "--quiet")[0] == 0
    Path("validation-reference.json").rename("kept.json")
    Path("other-name.extxyz").write_text(Path("fcc.extxyz").read_text())
    assert invoke(SOFT, "other-name.extxyz", "--reference", "kept.json", "--quiet")[0] == 3
    code, out, _ = invoke("emt", "other-name.extxyz", "--reference", "kept.json", "--checks", "all", "--json")
    assert code == 0
    verdicts = {row["check"]: row["emt: verdict"] for row in json.loads(out)["quantities"]}
    assert verdicts.keys() == set(CHECK_NAMES)
    assert {check for check, verdict in verdicts.items() if verdict == "pass"} == {"relaxation", "equation-of-state"}
    assert set(verdicts.values()) == {"pass", "not compared"}
    code, out, _ = invoke("emt", "bcc.extxyz", "--reference", "kept.json", "--json")
    assert code == 3, "nothing could be compared: never a pass"
    assert json.loads(out)["conclusion"].startswith("Nothing could be compared")
    assert all("holds no" in row["note"] for row in json.loads(out)["quantities"])


def emt(atoms: Atoms) -> Atoms:
    labelled = atoms.copy()
    labelled.calc = EMT()
    labelled.info["REF_energy"] = labelled.get_potential_energy() + 100.0
    labelled.arrays["REF_forces"] = labelled.get_forces()
    labelled.info["REF_stress"] = labelled.get_stress()
    labelled.calc = None
    return labelled


def test_labelled_frames_give_what_they_hold(folder: Path):
    scaled = []
    for volume in np.linspace(0.94, 1.06, 7):
        atoms = bulk("Cu")
        atoms.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
        scaled.append(atoms)
    rattled = bulk("Cu", cubic=True)
    rattled.rattle(0.1, seed=1)
    lone = Atoms("Cu", info={"REF_energy": 3.5})
    write("frames.extxyz", [*(emt(atoms) for atoms in (*scaled, rattled, rattled[::-1])), lone])
    code, out, said = invoke(
        "emt", "fcc.extxyz", "bcc.extxyz", "--reference", "frames.extxyz", "--foundation", SOFT, "--json"
    )
    assert code == 0
    assert "isolated atoms were taken for Cu (3.5 eV)" in said
    assert "frames.extxyz, frame 8 is frames.extxyz, frame 7" in said
    rows = {(row["check"], row["structure"], row["quantity"]): row for row in json.loads(out)["quantities"]}
    assert rows["equation-of-state", "fcc", "bulk modulus"]["emt: verdict"] == "pass"
    scaled_bcc, at_rest = rows["equation-of-state", "bcc", "whole check"], rows["relaxation", "fcc", "whole check"]
    assert scaled_bcc["emt: verdict"] == at_rest["emt: verdict"] == "not compared"
    assert "0 evenly scaled copies of bcc, and 5 are needed" in scaled_bcc["note"]
    assert "lack a structure that the check needs" in at_rest["note"]
    assert rows["frames", "labelled frames", "energy error"]["emt"] == pytest.approx(0, abs=1e-6)
    force = rows["frames", "labelled frames", "force error"]
    soft = "counting_calculators.SoftEMT"
    assert force["emt"] == pytest.approx(0, abs=1e-6)
    assert force[soft] > 0.01
    reference = DatasetReference([Path("frames.extxyz")])
    assert len(reference.frames) == 8
    turned = rattled[[2, 0, 3, 1]]
    turned.calc = _DatasetCalculator(reference.frames)
    np.testing.assert_allclose(turned.get_forces(), emt(turned).arrays["REF_forces"], atol=1e-6)
    words = ("emt", "fcc.extxyz", "--reference", "frames.extxyz", "--forces-key", "my_forces")
    assert "no frame has forces under the name 'my_forces'" in invoke(*words)[2]


def test_a_campaign_gives_engine_tolerances_and_folder_before_it_has_run(folder: Path):
    Path("campaign.yaml").write_text(CONFIG.format(folder=folder / "run"))
    code, _, error = invoke("emt", "fcc.extxyz", "--config", "campaign.yaml", "--quiet")
    assert code == 0, error
    data = json.loads(Path("run/validation.json").read_text())
    assert {row["check"] for row in data["quantities"]} == {"relaxation"}
    soft = json.loads(invoke(SOFT, "fcc.extxyz", "--config", "campaign.yaml", "--json")[1])
    assert {row["quantity"]: row["tolerance"] for row in soft["quantities"]}["a"] < 1e-8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["emt", "fcc.extxyz"], "--reference: missing"),
        (["emt", "nowhere.cif", "--reference", "engine.yaml"], "nowhere.cif does not exist"),
        (["emt", "fcc.extxyz", "--reference", "nowhere.yaml"], "nowhere.yaml"),
        (["emt", "fcc.extxyz", "--reference", "nowhere.json"], "nowhere.json does not exist"),
        (["emt", "fcc.extxyz", "--reference", "other.json"], "other.json: not a reference"),
        (["emt", "fcc.extxyz", "--reference", "broken.json"], "broken.json cannot be read (JSON"),
        (["emt", "fcc.extxyz", "--reference", "fcc.extxyz"], "no frame has forces"),
        (["emt", "fcc.extxyz", "--reference", "engine.yaml", "--checks", "elasticty"], "did you mean 'elasticity'?"),
        (["emt", "fcc.extxyz", "--reference", "engine.yaml", "--checks", ","], "expected comma-separated names"),
        (["emt", "fcc.extxyz", "--reference", "engine.yaml", "--output", "x.txt"], "ends in .json"),
        (["emt", "fcc.extxyz", "--reference", "engine.yaml", "--output", "no/x.json"], "does not exist"),
        (["nowhere", "fcc.extxyz", "--reference", "engine.yaml"], "MODEL: received 'nowhere', expected"),
        (["calculator:ase.Atoms", "fcc.extxyz", "--reference", "engine.yaml"], "expected the class of an ASE calcul"),
        ([".", "fcc.extxyz", "--reference", "engine.yaml"], "model ."),
        (["emt", "iron.extxyz", "--reference", "engine.yaml"], "cannot calculate Fe"),
        (["emt", "far.extxyz", "--reference", "engine.yaml"], "far.extxyz, structure 0"),
    ],
)
def test_what_cannot_be_used_is_one_message_and_nothing_written(folder: Path, words: list[str], said: str):
    Path("other.json").write_text('{"kind": "something else"}')
    Path("broken.json").write_text("{")
    write("iron.extxyz", bulk("Fe"))
    write("far.extxyz", Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0.05]]))
    code, out, error = invoke(*words)
    assert (code, out) == (2, "")
    assert error.startswith("al-loop: ")
    assert said in error
    assert not Path("validation.json").exists()


def test_the_help_and_the_registry_name_every_check_that_a_config_may_name():
    from al_loop.tools.validation.checks import CHECKS

    out = " ".join(CliRunner().invoke(app, ["validate", "--help"]).stdout.replace("-\n", "-").split())
    assert [check.name for check in CHECKS] == list(CHECK_NAMES)
    assert all(name in out.replace("- ", "-") for name in CHECK_NAMES)
