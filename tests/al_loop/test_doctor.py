"""The doctor names what is missing and how to mend it."""

import io
import os
import stat
from pathlib import Path

import pytest
from ase.build import molecule
from rich.console import Console
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.tools.preflight.doctor import Finding, check_campaign, diagnose, print_findings
from al_loop.tools.preflight.load_config import load_config
from committee.errors import UnknownElementError

CONFIG = """
name: test
folder: {folder}
foundation: {foundation}
systems: [{{file: start.xyz}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {engine}}}
"""
SEVENNET = "{kind: sevennet}"
UMA = "{kind: fairchem, model: uma-s-1p2p1, task_name: omat}"
EMT = "{engine: ase, calculator: ase.calculators.emt.EMT}"


def config_of(folder: Path, foundation: str = SEVENNET, engine: str = EMT, target: str = "runs") -> Config:
    if not (folder / "start.xyz").exists():
        molecule("CH3OH").write(folder / "start.xyz")
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(folder=folder / target, foundation=foundation, engine=engine))
    return load_config(path)


def finding(findings: list[Finding], subject: str) -> Finding:
    (found,) = [entry for entry in findings if entry.subject.startswith(subject)]
    return found


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MONGODB_URI", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_everything_is_there(tmp_path: Path) -> None:
    findings = diagnose(config_of(tmp_path))
    assert [entry for entry in findings if entry.blocks] == []
    assert "elements" in finding(findings, "foundation 7net-0").detail
    assert finding(findings, "mongod").detail.startswith("db version v")
    assert not (tmp_path / "runs").exists()


def test_without_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "Everything needed is available." in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_gated_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))  # never fetched here
    config = config_of(tmp_path, UMA)
    missing = finding(diagnose(config), "foundation uma")
    assert missing.blocks
    assert "HF_TOKEN" in missing.remedy
    assert CliRunner().invoke(app, ["doctor", str(tmp_path / "config.yaml")]).exit_code == 2
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    found = finding(diagnose(config), "foundation uma")
    assert found.ok
    assert "hunter2" not in found.detail
    size, labels, note = check_campaign(config)
    assert "to explore on" in size
    assert labels.startswith("Labels: ")
    assert "Elements were not checked" in note


def test_an_engine_that_is_not_installed(tmp_path: Path) -> None:
    config = config_of(tmp_path, engine="{engine: ase, calculator: no_such_code.Calculator}")
    missing = finding(diagnose(config), "engine ase")
    assert missing.blocks
    assert "no package no_such_code" in missing.remedy
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 2
    assert "no_such_code" in result.stderr


def test_pw_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    absent = finding(diagnose(), "pw.x")
    assert not absent.ok
    assert not absent.blocks
    assert "apt-get install --no-install-recommends quantum-espresso" in absent.remedy
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no pseudopotentials" in finding(diagnose(), "pw.x").remedy
    (tmp_path / "Si.upf").write_text("<PP_HEADER/>")
    assert finding(diagnose(), "pw.x").ok


def test_elements_that_the_foundation_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "start.xyz").write_text("2\n\nRn 0 0 0\nPo 0 0 3\n")
    config = config_of(tmp_path, engine="{engine: ase, calculator: ase.calculators.lj.LennardJones}")
    with pytest.raises(UnknownElementError, match=r"systems\[0\] \(start\) holds Po, Rn"):
        check_campaign(config)
    assert "Po, Rn" in finding(diagnose(config), "foundation 7net-0").remedy
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 2
    assert "Po, Rn" in result.stderr


def calculator(import_path: str) -> str:
    return f"{{kind: calculator, import_path: {import_path}, features: {SEVENNET}}}"


def test_a_calculator_is_asked_about_the_first_structure(tmp_path: Path) -> None:
    found = finding(diagnose(config_of(tmp_path, calculator("ase.calculators.lj.LennardJones"))), "foundation ase")
    assert found.ok
    assert "as ase.calculators.lj.LennardJones" in found.detail
    failing = finding(diagnose(config_of(tmp_path, calculator("ase.calculators.emt.EMT"))), "foundation ase")
    assert failing.blocks is False  # EMT has parameters for C, O and H
    (tmp_path / "start.xyz").write_text("2\n\nNa 0 0 0\nCl 0 0 2.5\n")
    failing = finding(diagnose(config_of(tmp_path, calculator("ase.calculators.emt.EMT"))), "foundation ase")
    assert failing.blocks
    assert "ase.calculators.emt.EMT; on frame 0 (NaCl) it failed" in failing.remedy


def test_a_calculator_that_is_not_installed(tmp_path: Path) -> None:
    config = config_of(tmp_path, calculator("pfp_api_client.pfp.calculators.ase_calculator.ASECalculator"))
    missing = finding(diagnose(config), "foundation pfp_api_client")
    assert missing.blocks
    assert "install its package" in missing.remedy
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 2
    assert "pfp_api_client" in result.stderr


def test_a_valid_config(tmp_path: Path) -> None:
    config_of(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 0
    assert "is valid: campaign test, 1 structure(s), 3 round(s)" in " ".join(result.stdout.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    missing = finding(diagnose(config_of(tmp_path, target="file/runs")), "folder")
    assert missing.blocks
    assert "file is not writable" in missing.detail


def test_a_mongod_without_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "mongod"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'error while loading shared libraries: libcurl.so.4' >&2\nexit 127\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    missing = finding(diagnose(), "mongod")
    assert missing.blocks
    assert "libcurl.so.4" in missing.detail
    assert "apt-get install libcurl4" in missing.remedy


def test_the_table_tells_optional_from_needed() -> None:
    output = io.StringIO()
    lines = [Finding("gpaw", False, "not installed", "pip install gpaw", needed=False), Finding("ase", True, "3.29")]
    print_findings(lines, Console(file=output, width=100))
    assert "optional" in output.getvalue()
    assert "Everything needed is available." in output.getvalue()
    print_findings([Finding("[torch]", False, "not installed", "pip install torch")], Console(file=output, width=100))
    assert "Needed and missing: [torch]" in output.getvalue()


def test_a_config_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no config file"):
        load_config(tmp_path / "config.yaml")
