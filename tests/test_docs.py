"""Every command, config, script, path and link of the documentation is tried against the code.

The README's Python is run as it stands by ``tests/integration/test_readme.py``, all of CONTRIBUTING.md by
``tests/test_contributing.py``.
"""

import ast
import builtins
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
import yaml
from pydantic import TypeAdapter
from typer.exceptions import TyperException

from al_loop.cli import app
from al_loop.config import Config
from al_loop.config.settings import LabelSettings
from dft_interfaces.settings import EngineSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "benchmarks/README.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")

PACKAGES = ("al_loop", "committee", "dft_interfaces", "benchmarks")
SOURCES = [str(path.relative_to(ROOT)) for top in (*PACKAGES, "tests") for path in (ROOT / top).rglob("*.py")]
OF_OTHERS = {"setup_vasp.py"}  # a script of fairchem
OF_THE_READER = {"frames", "reasons", "dynamics", "atoms"}  # what a page says that the reader already has
ANY = SimpleNamespace()


def blocks(language: str) -> list[Any]:
    found = []
    for page in (page for page in PAGES if page.name != "CONTRIBUTING.md"):
        for number, (_, kind, text) in enumerate(FENCE.findall(page.read_text())):
            if kind == language:
                found.append(pytest.param(textwrap.dedent(text), id=f"{page.relative_to(ROOT)}-{number}"))
    return found


def commands() -> list[Any]:
    """Each line of a block that begins with ``al-loop``, and each inline ``al-loop ...`` that is whole."""
    found = []
    for page in PAGES:
        text = page.read_text()
        joined = [block.replace("\\\n", " ") for _, kind, block in FENCE.findall(text) if kind in ("", "bash")]
        lines = [line.strip() for block in joined for line in block.splitlines() if re.match(r"\s*al-loop [a-z]", line)]
        found += [pytest.param(line, id=f"{page.relative_to(ROOT)}: {line[:60]}") for line in lines]
    return found


def mentions() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for span in re.findall(r"`(al-loop [a-z][^`]*)`", FENCE.sub("", page.read_text())):
            yield page, " ".join(span.split())


def parse(line: str) -> None:
    """Parse a command line as the program would, without running it."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    program = typer.main.get_command(app)
    command = program.get_command(typer.Context(program), words[0])
    assert command is not None, f"there is no command {words[0]!r}"
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    parse(line)


def test_a_wrong_command_is_noticed() -> None:
    for line in ("al-loop launch x.yaml", "al-loop run", "al-loop run x.yaml --wach", "al-loop monitor --steps five"):
        with pytest.raises((AssertionError, TyperException)):
            parse(line)


def test_commands_and_options_in_the_text_exist() -> None:
    program = typer.main.get_command(app)
    for page, span in mentions():
        words = span.split()[1:]
        command = program.get_command(typer.Context(program), words[0])
        assert command is not None, f"{page.name}: `{span}`"
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known - {"--help"}
        assert not unknown, f"{page.name}: `{span}` has no {unknown}"


@pytest.mark.parametrize("text", blocks("yaml"))
def test_configs_are_valid(text: str, tmp_path: Path) -> None:
    data = yaml.safe_load(text)
    if {"name", "systems", "label"} <= set(data):
        from al_loop.tools.preflight.load_config import load_config

        (tmp_path / "structures").symlink_to(ROOT / "configs/structures")
        (tmp_path / "campaign.yaml").write_text(text)
        load_config(tmp_path / "campaign.yaml")
    elif isinstance(data.get("engine"), str):
        TypeAdapter(EngineSettings).validate_python(data)
    elif set(data) == {"queue"}:
        TypeAdapter(LabelSettings).validate_python({"engine": {"engine": "pyscf"}, **data})
    else:
        Config.model_validate(_completed(data))


def test_a_wrong_config_is_noticed() -> None:
    for data in ({"lable": {}}, {"watch": {"suspect": 3}}, {"foundation": {"kind": "sevenet"}}):
        with pytest.raises(ValueError, match="validation error"):
            Config.model_validate(_completed(data))


def _completed(data: dict[str, Any]) -> dict[str, Any]:
    """A campaign in which the blocks that the page leaves out are the shortest that work."""
    shortest: dict[str, Any] = {
        "name": "docs",
        "folder": "runs/docs",
        "foundation": {"kind": "sevennet"},
        "systems": [{"file": "structure.xyz"}],
        "explore": {"temperatures_K": [300]},
        "label": {"engine": {"engine": "pyscf"}},
    }
    both = {**shortest, **data}
    for block in ("label", "explore"):
        both[block] = {**shortest[block], **both[block]}
    return both


@pytest.mark.parametrize("code", blocks("python"))
def test_python_fits_the_code(code: str) -> None:
    """What is imported exists, calls of it fit its signature, and no name comes from nowhere."""
    tree = ast.parse(code)
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = importlib.import_module(node.module)
            known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            known |= {
                alias.asname or alias.name.partition(".")[0]: importlib.import_module(alias.name)
                for alias in node.names
            }
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stored = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assert loaded - stored - set(known) - set(dir(builtins)) <= OF_THE_READER
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        called = _resolved(call.func, known)
        if called is None or any(isinstance(argument, ast.Starred) for argument in call.args):
            continue
        inspect.signature(called).bind(*[ANY] * len(call.args), **{word.arg: ANY for word in call.keywords if word.arg})


def _resolved(function: ast.expr, known: dict[str, Any]) -> Any:
    """What a call names, if it is something imported or an attribute of it."""
    if isinstance(function, ast.Name):
        return known.get(function.id)
    if isinstance(function, ast.Attribute):
        owner = _resolved(function.value, known)
        return None if owner is None else getattr(owner, function.attr)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_in_the_text_exist(page: Path) -> None:
    """A module is named by the end of its path or by its dotted name, with or without something that it defines."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text()))
    named = {span for span in spans if re.fullmatch(r"[\w./-]+\.py", span)} - OF_OTHERS
    gone = {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in SOURCES)}
    dotted = [span for span in spans if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+", span)]
    gone |= {name for name in dotted if not _exists(name)}
    assert not gone, f"{page.name} names what does not exist: {sorted(gone)}"


def test_folders_of_the_architecture_exist() -> None:
    spans = re.findall(r"`([\w./]+/)`", (ROOT / "ARCHITECTURE.md").read_text())
    folders = {parent for path in SOURCES for parent in Path(path).parents}
    assert spans
    gone = {name for name in spans if not any(f"/{folder}/".endswith(f"/{name}") for folder in folders)}
    assert not gone, f"ARCHITECTURE.md names folders that do not exist: {sorted(gone)}"


def test_the_floors_of_the_architecture_are_those_of_import_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    text = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())
    layered = [contract for contract in contracts if "containers" in contract]
    assert {package for contract in layered for package in contract["containers"]} >= set(PACKAGES) - {"benchmarks"}
    for contract in layered:
        floors = " → ".join(layer.replace(" | ", ", ") for layer in contract["layers"])
        for package in contract["containers"]:
            assert f" {package}: {floors} " in text


def _exists(dotted: str) -> bool:
    """Whether a module of that name exists, or one that has an attribute of its last part."""
    owner, _, name = dotted.rpartition(".")
    for module, attribute in ((dotted, "__name__"), (owner, name)):
        with suppress(ModuleNotFoundError):
            if hasattr(importlib.import_module(module), attribute):
                return True
    return False


def test_a_wrong_module_is_noticed() -> None:
    assert _exists("committee.testing")
    assert _exists("committee.testing.check_backbone")
    assert not _exists("committee.testing.check_engine")
    assert not _exists("committee.tests")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(file), f"{target}: no such heading"


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["strict"] is True
    assert site["theme"]["font"] is False
    listed: set[str] = set()

    def walk(entry: Any) -> None:
        if isinstance(entry, str):
            listed.add(entry)
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                walk(inner)

    walk(site["nav"])
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert pages - listed == set(), "add these to nav in mkdocs.yml"
    assert listed - pages == set(), "these are gone"


def test_the_reference_names_what_exists() -> None:
    for page in ROOT.glob("docs/reference/*.md"):
        named = re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)
        assert named
        for path in named:
            module, _, name = path.rpartition(".")
            try:
                importlib.import_module(path)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), name), path


def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    built = subprocess.run(  # not --quiet, which would not count warnings either
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site/reference/settings.html").read_text()
    assert "Largest force error on any atom that you accept." in reference
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//")
    for page in (tmp_path / "site").rglob("*.html"):
        assert not loaded.search(page.read_text()), page.name
