"""The wheel, installed outside the repository: it holds all that the product needs, and runs a campaign there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from ase.build import molecule
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ("al_loop", "committee", "dft_interfaces")
QUICKSTART = ("sevennet", "pyscf", "mongod")
SMALL = {
    "rounds": 1,
    "committee": {"members": 4, "hidden_channels": 16},
    "explore": {"temperatures_K": [300], "timestep_fs": 0.5, "steps": 20, "check_every": 5},
    "hold_out": {"test_frames": 4, "calibration_frames": 10},
    "select": {"labels_per_round": 4},
    "train": {"epochs": 60},
    "promote": {"nve_steps": 10, "foundation_frames": 2},
    "label": {"workers": 1, "engine": {"engine": "pyscf", "xc": "pbe", "basis": "sto-3g"}},
}

pytestmark = pytest.mark.long


def call(*words: object, cwd: Path) -> str:
    """Run a program that knows nothing of the repository; return what it says."""
    ours = {"PYTHONPATH", "PYTHONHOME", "MONGODB_URI", "VIRTUAL_ENV"}
    environment = {key: value for key, value in os.environ.items() if key not in ours} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*words: object, cwd: Path) -> None:
    call(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *words, cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are; built from a copy, which leaves no build folder in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """Where the wheel is installed: its programs, its modules, and an empty folder to work in."""

    programs: Path
    modules: Path
    folder: Path

    def al_loop(self, *words: object) -> str:
        return call(self.programs / "al-loop", *words, cwd=self.folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own, which takes the dependencies from this one, so that none is fetched.

    A folder that a ``.pth`` file adds is searched for packages only: the editable install in it, which is a ``.pth``
    file too, is not seen.
    """
    home = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv/bin/python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    [modules] = (home / "venv").glob("lib/python*/site-packages")
    (modules / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    folder = home / "work"
    folder.mkdir()
    return Installed(python.parent, modules, folder)


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    expected = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_quickstart_s_extras_are_those_of_this_environment(wheel: Path) -> None:
    """So that ``pip install al-loop[sevennet,pyscf,mongod]`` would add nothing to what the campaign below runs with."""
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    stated = metadata.PathDistribution(zipfile.Path(archive, f"{Path(name).parent}/")).metadata
    assert set(QUICKSTART) <= set(stated.get_all("Provides-Extra"))
    requirements = [Requirement(text) for text in stated.get_all("Requires-Dist")]
    for extra in ("", *QUICKSTART):
        wanted = [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]
        assert wanted
        assert all(metadata.version(one.name) in one.specifier for one in wanted), extra


def test_it_runs_a_campaign_outside_the_repository(installed: Installed) -> None:
    code = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep='\\n')"
    homes = call(installed.programs / "python", "-c", code, cwd=installed.folder).splitlines()
    assert homes == [str(installed.modules / name / "__init__.py") for name in PACKAGES]

    config = installed.folder / "mine.yaml"
    installed.al_loop("template", "molecule", "--output", config.name)
    molecule("H2").write(installed.folder / "hydrogen.xyz")
    filled_in = yaml.safe_load(re.sub(r"FILL-IN/structure\.xyz", "hydrogen.xyz", config.read_text()))
    config.write_text(yaml.safe_dump(filled_in | SMALL))
    assert "mine.yaml is valid" in installed.al_loop("check-config", config.name)
    installed.al_loop("run", config.name)

    status = json.loads(installed.al_loop("status", config.name, "--json"))
    assert status["state"] == "finished"
    [finished] = status["rounds"]
    assert finished["labels"] > 0
    assert finished["labels_failed"] == 0
    report = (installed.folder / filled_in["folder"] / "report.html").read_text()
    assert (installed.modules / "al_loop/report/templates/viewer.js").read_text().strip() in report
