"""The command line. Each command is a thin function; heavy libraries are imported inside the commands."""

import json
import logging
import signal
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from al_loop.cli.errors import guarded, logged_to

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The campaign's YAML file.")]
LABELLED = "DFT outputs, extxyz, aselmdb or ASE databases: files, folders or patterns such as 'runs/**/OUTCAR'."
EnergyKey = Annotated[
    str | None, typer.Option(help="Key of the energies (eV) in the files; by default REF_energy, else ASE's energy.")
]
ForcesKey = Annotated[str | None, typer.Option(help="Key of the forces (eV/Å); by default REF_forces, else ASE's.")]
StressKey = Annotated[str | None, typer.Option(help="Key of the stresses (eV/Å³); by default REF_stress, else ASE's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]

app = typer.Typer(
    name="al-loop",
    help="Active learning for machine-learned interatomic potentials.",
    epilog="Start with: al-loop template molecule --output my.yaml. "
    "Exit codes: 0 success, 2 invalid input, 3 stopped by a safety check or a failed validation, 1 any other error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point of ``al-loop``."""
    # A scheduler ends jobs by SIGTERM: workers and the private server must go as they do after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


@app.command()
@guarded
def run(
    config_path: ConfigFile,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only: no progress bars, no tables.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per round.")] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Keep running; start a round when enough new frames or labels arrive."),
    ] = False,
    go_on_here: Annotated[
        bool,
        typer.Option("--go-on-here", help="Continue even if this folder is a copy or an older state of another one."),
    ] = False,
) -> None:
    """Start or resume a campaign. After a crash or Ctrl-C, run the same command again."""
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.utils.event_log import LOG_NAME

    config = load_config(config_path)
    if quiet:
        logging.getLogger("al_loop").setLevel(logging.ERROR)
    with logged_to(config.folder.expanduser() / LOG_NAME):
        from rich.console import Console

        from al_loop.campaign import Campaign
        from al_loop.cli.round_table import print_round
        from al_loop.ledger.incoming import Watch
        from al_loop.report.page import REPORT_NAME
        from al_loop.report.round_json import as_dict
        from al_loop.utils.progress import terminal_progress

        campaign = Campaign(config, terminal_progress(quiet=quiet))
        console = Console()
        tell = (lambda _: None) if quiet else partial(typer.echo, err=as_json)
        for report in campaign.iter_rounds(Watch(config.watch, tell) if watch else None, go_on_here=go_on_here):
            if as_json:
                typer.echo(json.dumps(as_dict(report)))
            elif not quiet:
                print_round(report, console)
        if not (as_json or quiet or watch):
            early = campaign.stopped_early
            done = f"Stopped early: {early}." if early else f"All {config.rounds} rounds are done."
            typer.echo(f"{done} Report: {campaign.folder / REPORT_NAME}")


@app.command()
@guarded
def status(config_path: ConfigFile, as_json: AsJson = False) -> None:
    """Show the progress of a campaign, also while it runs."""
    from al_loop.cli.round_table import print_status
    from al_loop.config.file import read_config
    from al_loop.errors import InputError
    from al_loop.report.status import campaign_status
    from al_loop.tools.preflight.load_config import load_config

    try:
        found = campaign_status(read_config(config_path))
    except InputError:
        load_config(config_path)  # raises the config's own error, if it has one
        raise
    if as_json:
        typer.echo(json.dumps(found, allow_nan=False))
    else:
        print_status(found)


@app.command()
@guarded
def report(config_path: ConfigFile) -> None:
    """Write the HTML report of a campaign into its folder."""
    from al_loop.report.status import write_campaign_report
    from al_loop.tools.preflight.load_config import load_config

    typer.echo(f"Report: {write_campaign_report(load_config(config_path))}")


@app.command("check-config")
@guarded
def check_config(config_path: ConfigFile) -> None:
    """Check a config: list every error, write nothing. Covers its structures, engine and foundation model."""
    from al_loop.structures.systems import structure_count, structure_notes
    from al_loop.tools.preflight.doctor import check_campaign
    from al_loop.tools.preflight.load_config import load_config

    config = load_config(config_path)
    notes = check_campaign(config)
    systems = [*config.systems, *config.hold_out.never_trained]
    structures = sum(map(structure_count, systems))
    typer.echo(f"{config_path} is valid: campaign {config.name}, {structures} structure(s), {config.rounds} round(s).")
    for note in [*(note for system in systems for note in structure_notes(system)), *notes]:
        typer.echo(note)


@app.command()
@guarded
def predict(
    frames: Annotated[list[Path], typer.Argument(metavar="FRAMES...", help=LABELLED)],
    foundation: Annotated[
        list[str],
        typer.Option(help="sevennet:MODEL[:FIDELITY], fairchem:MODEL:TASK, or a campaign's YAML; repeat to compare."),
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device; a campaign's YAML sets its own.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compare foundation models on your labelled frames. Prints their errors and recommends one."""
    from dataclasses import asdict

    from al_loop.cli.ranking_tables import print_comparison
    from al_loop.tools.single_steps.compare import compare

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        comparison = compare(
            frames,
            foundation,
            energy_key=energy_key,
            forces_key=forces_key,
            stress_key=stress_key,
            device=device,
            notify=print_note,
        )
    if as_json:
        typer.echo(json.dumps(asdict(comparison), allow_nan=False))
    else:
        print_comparison(comparison)


def print_note(note: str) -> None:
    """Print what was left out of labelled files to standard error, since standard output may be JSON."""
    typer.echo(note, err=True)


def print_notes(notes: Iterable[str]) -> None:
    """Print several notes."""
    for note in notes:
        print_note(note)


@app.command("isolated-atoms")
@guarded
def isolated_atoms(config_path: ConfigFile, as_json: AsJson = False) -> None:
    """Calculate isolated-atom energies with the config's engine. Prints the setting align.isolated_atoms_eV."""
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.tools.single_steps.label import isolated_atom_energies_eV

    energies_eV = isolated_atom_energies_eV(load_config(config_path))
    if as_json:
        typer.echo(json.dumps(energies_eV))
    else:
        listed = ", ".join(f"{symbol}: {energy:.6f}" for symbol, energy in energies_eV.items())
        typer.echo(f"align:\n  isolated_atoms_eV: {{{listed}}}")


@app.command()
@guarded
def template(
    kind: Annotated[str, typer.Argument(help="molecule, crystal, or full (every setting).")] = "molecule",
    output: Annotated[Path | None, typer.Option(help="New file; by default standard output.")] = None,
) -> None:
    """Write a starter config."""
    from al_loop.config.file import template_text, write_template

    if output is None:
        typer.echo(template_text(kind), nl=False)
    else:
        typer.echo(f"Wrote {write_template(kind, output)}; replace every FILL-IN, then: al-loop check-config {output}")


@app.command()
@guarded
def schema() -> None:
    """Print the JSON schema of configs, for editors."""
    from al_loop.config.file import config_schema

    typer.echo(json.dumps(config_schema(), indent=2))


@app.command()
@guarded
def doctor(
    config_path: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Check what this config needs.")
    ] = None,
) -> None:
    """Check the installation, and show how to fix problems."""
    from al_loop.tools.preflight.doctor import diagnose, print_findings
    from al_loop.tools.preflight.load_config import load_config

    findings = diagnose(load_config(config_path) if config_path else None)
    print_findings(findings)
    if any(finding.blocks for finding in findings):
        raise typer.Exit(2)
