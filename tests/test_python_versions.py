"""The code is that of every Python that pyproject.toml admits; where such an interpreter is found, it compiles it."""

import ast
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [path for package in ("al_loop", "committee", "dft_interfaces") for path in (ROOT / package).rglob("*.py")]
REMOVED = {  # PEP 594 and the removals listed in What's New in Python 3.12 and 3.13
    *("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp"),
    *("lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "pkg_resources", "smtpd", "sndhdr"),
    *("spwd", "sunau", "telnetlib", "uu", "xdrlib"),
}
OTHERS = ("python3.12", "python3.13")


def imported(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("minor", [11, 13])
def test_the_syntax_is_that_of_every_version(minor):
    for path in SOURCES:
        ast.parse(path.read_text(), str(path), feature_version=(3, minor))


def test_nothing_is_imported_that_later_versions_lack():
    found = {(path.name, name) for path in SOURCES for name in imported(ast.parse(path.read_text())) if name in REMOVED}
    assert not found


@pytest.mark.parametrize("interpreter", [pytest.param(name, id=name) for name in OTHERS])
def test_other_interpreters_compile_it(interpreter, tmp_path):
    found = shutil.which(interpreter)
    if found is None or subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{interpreter} is not installed")
    code = "import sys; [compile(open(name).read(), name, 'exec') for name in sys.argv[1:]]"
    subprocess.run([found, "-W", "error", "-c", code, *map(str, SOURCES)], check=True)


def test_the_readme_names_the_versions():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in (ROOT / "README.md").read_text()
