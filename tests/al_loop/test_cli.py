"""The commands, their exit codes, and what they leave alone."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from ase.build import molecule
from event_lines import read_events
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.cli.errors import NO_ROOM, exit_code, guarded, logged_to
from al_loop.config import Config, StoreSettings
from al_loop.config.file import KINDS, config_schema
from al_loop.errors import CampaignError, GuardStop, InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.records import RoundReport
from al_loop.report.round_json import REPORT_STAGE, as_dict
from al_loop.stages.label.quarantine import QUARANTINED
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.campaign_folder import locked_folder
from al_loop.utils.event_log import LOG_NAME, EventLog
from committee.errors import CheckpointError, FoundationError, StructureError, UnknownElementError
from dft_interfaces.errors import EngineNotInstalledError, EngineSettingsError

COMMANDS = (
    "run",
    "status",
    "report",
    "predict",
    "label",
    "train",
    "export",
    "import",
    "worker",
    "monitor",
    "validate",
    "rank",
    "barrier",
    "check-config",
    "isolated-atoms",
    "template",
    "schema",
    "doctor",
)
CONFIG = """
name: test
folder: {folder}
rounds: 3
foundation: {{kind: sevennet}}
systems: [{{file: methanol.xyz}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
"""


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    molecule("CH3OH").write(tmp_path / "methanol.xyz")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(folder=tmp_path / "runs"))
    return path


@pytest.fixture
def started(config_path: Path, store: StoreSettings, report: RoundReport, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A campaign on a real server with one finished round and an open one."""
    assert store.uri is not None
    monkeypatch.setenv("MONGODB_URI", store.uri)
    config = load_config(config_path)
    with open_ledger(config.store, config.folder, config.name) as ledger:
        fill(ledger, config, report)
    return config


def fill(ledger: Ledger, config: Config, report: RoundReport) -> None:
    ledger.start_campaign(config.model_dump(mode="json", exclude={"store", "folder"}))
    ledger.finish_stage(report.round, "explore", 1.0, {})
    ledger.finish_stage(report.round, REPORT_STAGE, 0.1, as_dict(report))
    ledger.finish_stage(report.round + 1, "explore", 1.0, {})
    ledger.event("promotion", "promoted", report.round)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"{command} [OPTIONS]" in result.stdout
    assert command in CliRunner().invoke(app, ["--help"]).stdout


# What takes longest to load, seconds for some; nobody waits for it who asks a question.
HEAVY = {"torch", "scipy", "sklearn", "matplotlib", "fairchem", "sevenn", "pyiron_base", "pyscf", "gpaw", "pymatgen"}
LOADED = """
import sys
from al_loop.cli import app
for arguments in {commands}:
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, arguments
print(sorted(sys.modules))
"""


def loaded_by(*commands: list[str]) -> set[str]:
    """Modules in a process that has run these commands, and the packages they are in."""
    script = LOADED.format(commands=list(commands))
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    modules = set(ast.literal_eval(output.splitlines()[-1]))
    assert "al_loop.cli" in modules
    return modules | {name.partition(".")[0] for name in modules}


def test_help_loads_no_library_beyond_the_command_line() -> None:
    """Of every command there is, whatever others are added."""
    commands = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert set(COMMANDS) <= set(commands)
    loaded = loaded_by(["--help"], *([command, "--help"] for command in commands))
    assert loaded & (HEAVY | {"numpy", "ase", "yaml", "mongoengine", "pymongo"}) == set()


def test_status_loads_nothing_that_calculates(started: Config, config_path: Path) -> None:
    loaded = loaded_by(["status", str(config_path)], ["status", str(config_path), "--json"])
    slow_parts = {"ase.io", "ase.io.formats", "ase.build", "ase.neighborlist", "ase.geometry", "ase.md", "ase.optimize"}
    assert loaded & (HEAVY | slow_parts) == set()
    assert {
        name
        for name in loaded
        if name.startswith(("al_loop.stages.explore", "al_loop.stages.select", "dft_interfaces.engines"))
    } == set()


def test_the_package_exports_lazily() -> None:
    code = (
        "import sys, al_loop\nassert 'torch' not in sys.modules and 'pydantic' not in sys.modules\n"
        "import al_loop.config.file\nfrom al_loop import Campaign, Config, load_config\n"
        "assert callable(load_config) and Config.__name__ == 'Config' and Campaign.__name__ == 'Campaign'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_has_no_other_attributes() -> None:
    import al_loop

    with pytest.raises(AttributeError, match="no attribute 'Campain'"):
        _ = al_loop.Campain


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (FoundationError("x"), 2),
        (StructureError("x"), 2),
        (UnknownElementError("x"), 2),
        (EngineNotInstalledError("x"), 2),
        (EngineSettingsError("x"), 2),
        (GuardStop("x"), 3),
        (CampaignError("x"), 1),
        (CheckpointError("x"), 2),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(error) == code

    @guarded
    def command() -> None:
        with logged_to(tmp_path / LOG_NAME):
            raise error

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == code
    message = capsys.readouterr().err
    assert message.startswith("al-loop: ")
    assert "Traceback (most recent" not in message
    assert (tmp_path / LOG_NAME).exists() == (code == 1)


def test_an_unexpected_error_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / LOG_NAME
    with pytest.raises(typer.Exit), logged_to(path):
        raise RuntimeError("lost mongodb://me:hunter2@host")
    (event,) = read_events(path)
    assert event["event"] == "error"
    assert 'raise RuntimeError("lost' in event["traceback"]
    message = capsys.readouterr().err
    assert str(path) in message
    assert "RuntimeError: lost mongodb://***@host" in message
    assert "hunter2" not in path.read_text().replace('raise RuntimeError(\\"lost mongodb://me:hunter2@host\\")', "")


def test_an_unexpected_error_without_a_campaign_shows_itself(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="x"), logged_to(tmp_path / "gone" / LOG_NAME):
        raise RuntimeError("x")
    assert not (tmp_path / "gone").exists()


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, logged_to(tmp_path / LOG_NAME):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_can_be_printed_or_written(kind: str, tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["template", kind])
    assert printed.exit_code == 0
    path = tmp_path / "my.yaml"
    written = CliRunner().invoke(app, ["template", kind, "--output", str(path)])
    assert written.exit_code == 0
    assert path.read_text() == printed.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["molecul"], "did you mean 'molecule'"), (["full", "--output", "mine.yaml"], "exists already")],
)
def test_a_template_is_refused(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("mine")
    result = CliRunner().invoke(app, ["template", *arguments])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine.yaml", "mine")]


def test_schema() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert json.loads(result.stdout) == config_schema()


@pytest.mark.parametrize("command", ["status", "report"])
def test_no_campaign_yet(command: str, config_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    folder = config_path.parent / "runs"
    for _ in range(2):  # without the folder, and with a folder of something else
        before = sorted(config_path.parent.rglob("*"))
        result = CliRunner().invoke(app, [command, str(config_path)])
        assert result.exit_code == 2
        assert f"no campaign in {folder}" in result.stderr
        assert sorted(config_path.parent.rglob("*")) == before
        folder.mkdir(exist_ok=True)


@pytest.mark.parametrize("command", ["status", "report"])
def test_no_campaign_on_the_server(
    command: str, config_path: Path, store: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.uri is not None
    monkeypatch.setenv("MONGODB_URI", store.uri)
    result = CliRunner().invoke(app, [command, str(config_path)])
    assert result.exit_code == 2
    assert "no campaign in" in result.stderr
    assert not (config_path.parent / "runs").exists()


def test_status_as_json(started: Config, config_path: Path, report: RoundReport) -> None:
    result = CliRunner().invoke(app, ["status", str(config_path), "--json"])
    assert result.exit_code == 0, result.stderr
    status = json.loads(result.stdout)
    assert status["campaign"] == "test"
    assert status["state"] == "stopped"
    assert status["rounds"] == [as_dict(report)]
    assert status["in_progress"] == {"round": 2, "stages_done": ["explore"], "quarantined": []}
    with locked_folder(started.folder):
        running = CliRunner().invoke(app, ["status", str(config_path), "--json"])
    assert json.loads(running.stdout)["state"] == "running"


def test_status_of_a_finished_campaign(started: Config, config_path: Path, reports: Callable[..., RoundReport]) -> None:
    with open_ledger(started.store, started.folder, started.name) as ledger:
        for round_ in (0, 2):
            ledger.finish_stage(round_, REPORT_STAGE, 0.1, as_dict(reports(round_)))
    status = json.loads(CliRunner().invoke(app, ["status", str(config_path), "--json"]).stdout)
    assert status["state"] == "finished"
    assert [entry["round"] for entry in status["rounds"]] == [0, 1, 2]
    assert status["in_progress"] is None


def test_status_for_a_person(started: Config, config_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", str(config_path)])
    assert result.exit_code == 0
    assert "campaign test: stopped, 1 of 3 rounds done" in result.stdout
    assert "8.1x" in result.stdout


def test_status_of_an_open_round_says_why_frames_gave_no_label(started: Config, config_path: Path) -> None:
    frame = {"frame": "f888e7e11eb6", "system": "al", "failure": "crash", "tries": 2, "reason": "signal 11 (SEGV)"}
    with open_ledger(started.store, started.folder, started.name) as ledger:
        ledger.event(QUARANTINED, "of an earlier round", 1, **{**frame, "reason": "long mended"})
        ledger.event(QUARANTINED, "of the open round", 2, **frame)
    status = json.loads(CliRunner().invoke(app, ["status", str(config_path), "--json"]).stdout)
    assert status["in_progress"]["quarantined"] == [frame]
    shown = CliRunner().invoke(app, ["status", str(config_path)]).stdout
    assert "signal 11 (SEGV)" in shown
    assert "long mended" not in shown


def test_report_writes_one_file(started: Config, config_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(config_path)])
    assert result.exit_code == 0, result.output
    assert str(started.folder / "report.html") in result.stdout
    assert [path.name for path in started.folder.iterdir()] == ["report.html"]
    assert "<h1>test</h1>" in (started.folder / "report.html").read_text()


def test_a_server_that_does_not_answer(config_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    socket = str(tmp_path / "nobody.sock").replace("/", "%2F")
    monkeypatch.setenv("MONGODB_URI", f"mongodb://me:hunter2@{socket}/db")
    for command in ("status", "doctor"):
        result = CliRunner().invoke(app, [command, str(config_path)])
        assert result.exit_code == 2
        assert "hunter2" not in result.output
        assert "did not answer" in " ".join(result.output.split())


@pytest.mark.parametrize("number", NO_ROOM)
def test_no_room_is_an_error_that_a_person_can_fix(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, logged_to(tmp_path / LOG_NAME):
        raise OSError(number, os.strerror(number), "frames.traj")
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert f"{os.strerror(number)}: 'frames.traj'" in said
    assert "Free space, then run the same command" in said


def test_a_log_of_another_time_does_not_disturb(started: Config, config_path: Path) -> None:
    started.folder.mkdir()
    EventLog(started.folder / LOG_NAME).write("run")
    assert CliRunner().invoke(app, ["status", str(config_path)]).exit_code == 0
