"""Check what is installed and reachable, and how to fix problems."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from al_loop.config import Config
from al_loop.config.foundation_names import foundation_name, open_weights, weights_at_hand
from al_loop.errors import InputError
from al_loop.tools.preflight.campaign_size import campaign_size, check_machine
from al_loop.tools.preflight.checks import check_elements, checked_engine
from al_loop.tools.preflight.label_notes import dipole_notes, label_cost, level_differences
from al_loop.utils.redaction import mask_uri
from al_loop.utils.versions import installed
from committee.errors import CommitteeError
from committee.settings import CalculatorSettings, FairchemSettings
from dft_interfaces.engines import build_engine
from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.settings import EspressoSettings
from dft_interfaces.settings.gpaw import GPAW_INSTALL

if TYPE_CHECKING:
    from committee.backbones.contract import Backbone  # imports torch
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_REQUIRED = ("torch", "fairchem-core", "ase", "pyiron_base", "mongoengine")
_EXTRAS = {"sevenn": "sevennet", "pyscf": "pyscf", "gpaw": "gpaw"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table: a subject, whether it is available, its version or place, and a remedy if not.

    ``needed`` says that the campaign, or every campaign, requires it; ``note`` that the detail is a note for the user.
    """

    subject: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True
    note: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the campaign cannot start because of this."""
        return self.needed and not self.ok


def print_findings(findings: list[Finding], console: Console | None = None) -> None:
    """Print the table, and a last line on whether anything required is missing."""
    console = console or Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark = _mark(finding)
        text = escape(finding.detail)
        if finding.remedy:
            text += f"\n[dim]fix:[/] {escape(finding.remedy)}"
        table.add_row(mark, escape(finding.subject), text)
    console.print(table, highlight=False)
    blocking = [finding.subject for finding in findings if finding.blocks]
    verdict = f"Needed and missing: {', '.join(blocking)}" if blocking else "Everything needed is available."
    console.print(verdict, markup=False, highlight=False)


def _mark(finding: Finding) -> str:
    if finding.ok:
        return "[yellow]note[/]" if finding.note else "[green]ok[/]"
    return "[bold red]missing[/]" if finding.needed else "[yellow]optional[/]"


def diagnose(config: Config | None = None) -> list[Finding]:
    """Check everything; with a config, the needs of that campaign decide what is required."""
    findings = [_python(), *_packages(config), *_database(config), _compiler(), _espresso()]
    if config is not None:
        engine = _engine(config)
        findings += [engine, *([_level(config), _cost(config)] if engine.ok else []), _size(config)]
        findings += [_foundation(config), _folder(config)]
    return findings


def check_campaign(config: Config) -> list[str]:
    """Make sure that engine and foundation are there and know the elements, and that this machine suffices; reads only.

    Returns:
        Notes: the campaign's cost, slabs that a dipole correction would suit, and what could not be checked.

    Raises:
        InputError, CommitteeError, DFTInterfaceError: a part is missing or does not fit the others, the folder is
            another
            campaign's, or the campaign needs several times the memory or the disk of this machine.
    """
    from al_loop.ledger.identity import check_folder

    check_folder(config)
    engine = checked_engine(config)
    size = campaign_size(config)
    check_machine(config, size)
    notes = [f"It takes {size}.", f"Labels: {label_cost(config, engine)}.", *dipole_notes(config)]
    _, weights = open_weights(config.foundation)
    if isinstance(weights, FairchemSettings) and not weights_at_hand(weights.model):
        notes.append(f"Elements were not checked: the weights of {weights.model} are downloaded at the first run.")
        return notes
    from committee.backbones import load_backbone

    check_elements(config, load_backbone(config.foundation).elements)
    return notes


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Finding("python", True, version)
    return Finding("python", False, version, "use Python 3.11 to 3.13: python3.11 -m venv .venv")


def _packages(config: Config | None) -> Iterator[Finding]:
    wanted = _extras_of(config)
    for package in (*_REQUIRED, *_EXTRAS):
        version = installed(package)
        if version is not None:
            yield Finding(package, True, version)
            continue
        remedy = f"pip install 'al-loop[{_EXTRAS[package]}]'" if package in _EXTRAS else f"pip install {package}"
        remedy = GPAW_INSTALL if package == "gpaw" else remedy
        yield Finding(package, False, "not installed", remedy, package in _REQUIRED or package in wanted)


def _extras_of(config: Config | None) -> set[str]:
    if config is None:
        return set()
    foundation = {"sevenn"} if open_weights(config.foundation)[1].kind == "sevennet" else set()
    return foundation | {config.label.engine.engine}


def _database(config: Config | None) -> Iterator[Finding]:
    from al_loop.config import StoreSettings
    from al_loop.ledger.store import shared_server

    try:
        uri = shared_server(config.store if config else StoreSettings())
    except InputError as error:
        yield Finding("MongoDB", False, "store.uri_file cannot be used", str(error))
        return
    yield _server(uri) if uri else _private_server()


def _server(uri: str) -> Finding:
    from al_loop.ledger.connection import connected

    try:
        with connected(uri):
            return Finding("MongoDB", True, f"answers at {mask_uri(uri)}")
    except InputError as error:
        return Finding("MongoDB", False, f"{mask_uri(uri)} cannot be used", str(error))


def _private_server() -> Finding:
    from al_loop.ledger.mongod import find_mongod

    try:
        program = find_mongod()
    except InputError as error:
        return Finding("mongod", False, "no MONGODB_URI and no mongod", str(error))
    done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True, timeout=30)
    if done.returncode == 0:
        return Finding("mongod", True, f"{done.stdout.splitlines()[0]}, {program}")
    libraries = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return Finding(
        "mongod",
        False,
        f"{program} does not start: {' '.join(libraries)}",
        "apt-get install libcurl4 libssl3, or set MONGODB_URI to a server of your own",
    )


def _compiler() -> Finding:
    found = next((path for name in ("g++", "c++", "clang++") if (path := shutil.which(name))), None)
    if found:
        return Finding("C++ compiler", True, found, needed=False)
    return Finding("C++ compiler", False, "only needed to build gpaw", "apt-get install g++", needed=False)


def _espresso() -> Finding:
    settings = EspressoSettings(engine="espresso")
    remedy = settings.remedy()
    if remedy is not None:
        return Finding("pw.x", False, "only needed for engine espresso", remedy, needed=False)
    detail = f"{shutil.which(settings.program)}, pseudopotentials in {settings.pseudopotentials_folder}"
    return Finding("pw.x", True, detail, needed=False)


def _engine(config: Config) -> Finding:
    subject = f"engine {config.label.engine.engine}"
    remedy = config.label.engine.remedy()
    if remedy is not None:
        return Finding(subject, False, "not installed", remedy)
    try:
        engine = checked_engine(config)
    except (DFTInterfaceError, InputError) as error:
        return Finding(subject, False, "cannot be used with these settings", str(error))
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything, and naming it is the point
        return _broken(subject, error)
    return Finding(subject, True, engine.level_of_theory.summary)


def _cost(config: Config) -> Finding:
    """Cost of the labels, if the engine can be built."""
    cost = label_cost(config, build_engine(config.label.engine))
    return Finding("labels", True, str(cost), note=bool(cost.too_long))


def _size(config: Config) -> Finding:
    """Size of the exploration, compared with this machine."""
    size = campaign_size(config)
    try:
        check_machine(config, size)
    except InputError as error:
        return Finding("size", False, str(size), str(error))
    return Finding("size", True, str(size))


def _level(config: Config) -> Finding:
    """Difference of the engine's level of theory from the foundation's, if the engine can be built."""
    sentences = level_differences(config, build_engine(config.label.engine).level_of_theory)
    text = "\n".join(sentences) or "the labels are of the foundation's level"
    return Finding("level of theory", True, text, note=bool(sentences))


def _foundation(config: Config) -> Finding:
    settings = config.foundation
    subject = f"foundation {foundation_name(settings)}"
    _, weights = open_weights(settings)
    if isinstance(weights, FairchemSettings) and not weights_at_hand(weights.model):
        return _gated(subject)
    from committee.backbones import load_backbone
    from committee.backbones.contract import execution_of

    try:
        backbone = load_backbone(settings)
        check_elements(config, backbone.elements)
        if isinstance(settings, CalculatorSettings):
            _ask_once(config, backbone)
    except (CommitteeError, InputError) as error:
        return Finding(subject, False, "cannot be used", str(error))
    except Exception as error:  # noqa: BLE001 - as for the engine
        return _broken(subject, error)
    text = f"{backbone.level_of_theory}; {len(backbone.elements)} elements; {execution_of(backbone)}"
    return Finding(subject, True, text)


def _ask_once(config: Config, backbone: "Backbone") -> None:
    """Evaluate the first structure: a closed model may need a licence, a server or a cell."""
    from al_loop.structures.systems import load_structures

    backbone.evaluate([load_structures(config.systems[0])[0].atoms])


def _broken(subject: str, error: Exception) -> Finding:
    return Finding(subject, False, f"broken: {type(error).__name__}: {error}", "install its library again")


def _gated(subject: str) -> Finding:
    if os.environ.get("HF_TOKEN"):
        return Finding(subject, True, "weights are downloaded at the first run (HF_TOKEN is set)")
    return Finding(
        subject,
        False,
        "weights are not on this machine and HF_TOKEN is not set",
        "accept the licence on the model's Hugging Face page and set HF_TOKEN; or give the path of a checkpoint",
    )


def _folder(config: Config) -> Finding:
    folder = config.folder.expanduser().absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Finding("folder", True, f"{folder} can be written")
    return Finding("folder", False, f"{nearest} is not writable", "set 'folder' to a writable path")
