"""``al-loop monitor``: a thin function over ``al_loop.tools.monitoring``."""

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from al_loop.cli.commands import AsJson, app
from al_loop.cli.errors import guarded
from al_loop.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from al_loop.config import ExploreSettings
    from al_loop.files.surroundings import Surroundings
    from al_loop.tools.monitoring.settings import MonitorOptions
    from al_loop.tools.open_model import OpenedModel

MDEnsemble = Literal["nve", "langevin", "bussi", "npt"]

Model = Annotated[Path, typer.Option(help="Folder of a checkpoint, or a campaign's YAML (its served model).")]
Structure = Annotated[
    Path | None, typer.Argument(metavar="[STRUCTURE]", help="Initial structure of MD that is run and monitored.")
]
TrajectoryFile = Annotated[
    Path | None, typer.Option(help="Check a finished trajectory instead: LAMMPS dump, extxyz, XDATCAR, OUTCAR, ...")
]
FoundationName = Annotated[str | None, typer.Option(help="Foundation of a checkpoint, as for predict.")]
Temperature = Annotated[float | None, typer.Option(help="Temperature of the thermostat, K; by default 300 for MD.")]
Steps = Annotated[int, typer.Option(help="MD steps.")]
Timestep = Annotated[
    float | None, typer.Option(help="MD time step (by default 0.5), or time between frames of a trajectory, fs.")
]
EnsembleName = Annotated[MDEnsemble, typer.Option(help="MD ensemble, as explore.ensemble.")]
Pressure = Annotated[float, typer.Option(help="Pressure of npt, GPa.")]
Every = Annotated[
    int | None, typer.Option(help="MD steps (default 5) or trajectory frames (default 1) between checks.")
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed of the dynamics and of the screen.")]
OnAlarm = Annotated[
    list[str] | None,
    typer.Option(help="warn, snapshot or stop (exit 3); repeat to combine. By default warn and snapshot."),
]
Patience = Annotated[int, typer.Option(help="Consecutive untrusted checks before stop ends the run.")]
Harvest = Annotated[Path | None, typer.Option(help="Add the frames of alarms to this campaign: its YAML or folder.")]
Exact = Annotated[
    bool | None, typer.Option("--exact/--screen", help="Exact uncertainty of each frame, or a fast screen (MD).")
]
Charge = Annotated[int | None, typer.Option(help="Total charge, e, if the file states none; task omol needs it.")]
Spin = Annotated[int | None, typer.Option(min=1, help="Spin multiplicity (1: closed shell), if the file states none.")]
CellText = Annotated[
    str | None,
    typer.Option(help="Cell, if the file has none: lengths, lengths and angles, or nine vector components, Å."),
]
Periodicity = Annotated[
    str | None, typer.Option(help="Periodicity, if the file has none: TTF, xy or none; with --cell alone TTT.")
]
Species = Annotated[
    str | None,
    typer.Option(help="Elements of LAMMPS types or XDATCAR species (Na,Cl), or of atom labels (OW=O,CA=C)."),
]
LammpsUnits = Annotated[str, typer.Option(help="Units of a LAMMPS dump that does not state them.")]
FileFormat = Annotated[str | None, typer.Option("--format", help="ASE format name of the trajectory.")]
AnyPeriodicity = Annotated[
    bool, typer.Option("--any-periodicity", help="Accept a periodicity that the model was not trained on.")
]
FalseAlarmProbability = Annotated[
    float, typer.Option(help="Of the verdict 'outside the calibrated conditions', in a run inside them.")
]
Log = Annotated[Path, typer.Option(help="JSON lines, one per check; appended.")]
Snapshots = Annotated[Path, typer.Option(help="Frames of alarms, extended XYZ; appended.")]
MDTrajectory = Annotated[Path | None, typer.Option(help="Output: MD trajectory (.traj).")]


@app.command()
@guarded
def monitor(
    model: Model,
    structure: Structure = None,
    trajectory: TrajectoryFile = None,
    foundation: FoundationName = None,
    temperature: Temperature = None,
    steps: Steps = 1000,
    timestep: Timestep = None,
    ensemble: EnsembleName = "langevin",
    pressure: Pressure = 0.0,
    every: Every = None,
    seed: Seed = 0,
    on_alarm: OnAlarm = None,
    patience: Patience = 1,
    harvest: Harvest = None,
    exact: Exact = None,
    charge: Charge = None,
    spin: Spin = None,
    cell: CellText = None,
    pbc: Periodicity = None,
    species: Species = None,
    lammps_units: LammpsUnits = "metal",
    file_format: FileFormat = None,
    any_periodicity: AnyPeriodicity = False,
    false_alarm_probability: FalseAlarmProbability = 0.01,
    log: Log = Path("monitor.jsonl"),
    snapshots: Snapshots = Path("monitor-alarms.extxyz"),
    md_trajectory: MDTrajectory = None,
    as_json: AsJson = False,
) -> None:
    """Monitor MD, or check a finished trajectory, with the gate. The model and the campaign are not changed."""
    from al_loop.files.readers.element_labels import species_of
    from al_loop.files.surroundings import surroundings_of
    from al_loop.tools.monitoring.settings import MonitorOptions

    surroundings = surroundings_of(cell, pbc)
    symbols = [word.strip() for word in species.split(",")] if species else []
    species_of(symbols)
    state = {key: value for key, value in (("charge", charge), ("spin", spin)) if value is not None}
    written = {"--log": log, "--snapshots": snapshots, "--md-trajectory": md_trajectory}
    _check_input(structure, trajectory, surroundings, state, written, ensemble)
    settings = _settings(temperature, ensemble, timestep, steps, pressure, every)
    options = MonitorOptions(
        on_alarm=tuple(on_alarm or ("warn", "snapshot")),
        harvest=harvest,
        log=log,
        snapshots=snapshots,
        patience=patience,
        exact=trajectory is not None if exact is None else exact,
        seed=seed,
        any_periodicity=any_periodicity,
        false_alarm_probability=false_alarm_probability,
    )
    from al_loop.files.structures import read_structure
    from al_loop.files.trajectories import read_frames
    from al_loop.tools.open_model import open_model

    with _log_named_on_interrupt(log), warnings.catch_warnings(action="ignore", category=UserWarning):
        opened = open_model(model, foundation)  # UserWarnings are those of libraries on their own code
        if trajectory is not None:
            read = read_frames(trajectory, symbols, file_format, lammps_units, surroundings)
            frames = _stated(read, state, trajectory)
            summary = _check_frames(opened, options, frames, str(trajectory), temperature, timestep, every or 1)
        else:
            path = Path(str(structure))
            (atoms,) = _stated([read_structure(path)], state, path)
            surroundings.put_round(atoms, str(path))
            summary = _run(opened, options, atoms, str(path), settings, every or 5, md_trajectory)
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
    else:
        _print(summary, options)


def _check_input(
    structure: Path | None,
    trajectory: Path | None,
    surroundings: "Surroundings",
    state: Mapping[str, int],
    written: Mapping[str, Path | None],
    ensemble: MDEnsemble,
) -> None:
    """Raise for invalid input before a model is loaded."""
    from al_loop.files.structures import choose_frames
    from al_loop.frames.constraints.policy import check_followed, motion_of
    from al_loop.utils.paths import check_source, check_target

    if (structure is None) == (trajectory is None):
        raise InputError("expected either STRUCTURE, to run MD from, or --trajectory FILE, to check a finished one")
    if trajectory is not None:
        check_source(str(trajectory), trajectory, "name a trajectory")
    if structure is not None:
        chosen = choose_frames(structure)
        if chosen.note:
            typer.echo(f"{chosen.note}; for another one, write it to a separate file.", err=True)
        (atoms,) = _stated(chosen.frames, state, structure)
        surroundings.put_round(atoms, str(structure))
        check_followed(atoms, motion_of(ensemble), f"{structure}", "choose --ensemble langevin or bussi")
    for option, path in written.items():
        if path is not None:
            check_target(option, path, [one for one in (structure, trajectory) if one is not None])


@contextmanager
def _log_named_on_interrupt(log: Path) -> Iterator[None]:
    """On Ctrl-C, print where the summary so far is."""
    try:
        yield
    except KeyboardInterrupt:
        if log.is_file():
            typer.echo(f"The summary so far is the last line of {log}.", err=True)
        raise


def _stated(frames: "Iterable[Atoms]", state: Mapping[str, int], path: Path) -> "Iterator[Atoms]":
    """Frames with the charge and spin of the options, if their file states none; a different value is an error."""
    for number, atoms in enumerate(frames):
        for key, value in state.items():
            if atoms.info.get(key, value) != value:
                raise InputError(
                    f"--{key}: received {value}, but {path} states {key}={atoms.info[key]} (frame {number}, counted "
                    "from 0 as read); remove the option or correct the file"
                )
        atoms.info = {**state, **atoms.info}
        yield atoms


def _settings(
    temperature: float | None,
    ensemble: MDEnsemble,
    timestep: float | None,
    steps: int,
    pressure: float,
    every: int | None,
) -> "ExploreSettings":
    """Settings of the dynamics; numbers of its own or of a trajectory that are impossible are refused."""
    from pydantic import ValidationError

    from al_loop.config import ExploreSettings

    above_zero = {"steps": steps, "every": every, "timestep": timestep, "temperature": temperature}
    wrong = [f"--{name} {value:g}" for name, value in above_zero.items() if value is not None and not value > 0]
    if wrong:
        raise InputError(f"received {', '.join(wrong)}, expected numbers above 0")
    if not math.isfinite(pressure):
        raise InputError(f"received --pressure {pressure}, expected a number")
    try:
        return ExploreSettings(
            temperatures_K=(temperature or 300.0,),
            ensemble=ensemble,
            timestep_fs=timestep or 0.5,
            steps=steps,
            pressure_GPa=pressure,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: received {first['input']}; {first['msg']}") from error


def _run(
    opened: "OpenedModel",
    options: "MonitorOptions",
    atoms: "Atoms",
    name: str,
    settings: "ExploreSettings",
    every: int,
    md_trajectory: Path | None,
) -> dict[str, Any]:
    from ase.io.trajectory import Trajectory

    from al_loop.dynamics.ase_dynamics import ReplicaDynamics
    from al_loop.files.trajectories import STEP
    from al_loop.gate.applicability import check_suitable
    from al_loop.tools.monitoring.monitor import ReliabilityMonitor
    from al_loop.utils.progress import terminal_progress
    from committee.calculator import CommitteeCalculator

    check_suitable(opened.potential, atoms, name, any_periodicity=options.any_periodicity)
    atoms.calc = CommitteeCalculator(opened.potential)
    dynamics = ReplicaDynamics(atoms, settings, options.seed)
    with ExitStack() as files:
        watch = files.enter_context(ReliabilityMonitor(opened.potential, dynamics, options, physics=opened.physics))
        if md_trajectory is not None:
            written = files.enter_context(Trajectory(md_trajectory, "w", atoms))

            def write_frame() -> None:
                atoms.info[STEP] = dynamics.nsteps
                written.write()
                del atoms.info[STEP]

            dynamics.attach(write_frame, interval=every)
        dynamics.attach(watch, interval=every)
        advance = files.enter_context(terminal_progress().stage("MD", total=settings.steps, unit="steps"))
        dynamics.attach(lambda: advance(1) if dynamics.nsteps else None)
        dynamics.run(settings.steps)
    return watch.as_dict()


def _check_frames(
    opened: "OpenedModel",
    options: "MonitorOptions",
    frames: "Iterator[Atoms]",
    name: str,
    temperature_K: float | None,
    timestep_fs: float | None,
    every: int,
) -> dict[str, Any]:
    from al_loop.tools.monitoring.trajectory import monitor_trajectory
    from al_loop.utils.progress import terminal_progress

    with terminal_progress().stage("checked frames", unit="frames") as advance:
        return monitor_trajectory(
            opened.potential,
            frames,
            options,
            name=name,
            physics=opened.physics,
            temperature_K=temperature_K,
            between_frames_fs=timestep_fs,
            every=every,
            advance=advance,
        )


def _print(summary: Mapping[str, Any], options: "MonitorOptions") -> None:
    checks = ", ".join(f"{name} {count}" for name, count in summary["alarms_by_check"].items())
    typer.echo(f"Trusted: {summary['share_trusted']:.1%} of {summary['checks']} checks.")
    if summary["uncalibrated"]:
        typer.echo(f"Uncalibrated: {summary['uncalibrated']} checks; the model has too few calibration labels.")
    typer.echo(
        f"Alarms: {summary['alarms']}" + (f" ({checks}) in {summary['episodes']} episode(s)." if checks else ".")
    )
    for episode in summary["latest_episodes"][-5:]:
        typer.echo(f"  steps {episode['first_step']} to {episode['last_step']}: {episode['reason']}")
    for atom in summary["worst_atoms"]:
        largest = atom["largest_uncertainty_over_threshold"]
        typer.echo(f"  atom {atom['atom']} ({atom['element']}): {atom['alarms']} alarms, up to {largest} x threshold")
    typer.echo(f"Guarantee: {summary['conditions']['text']}.")
    trusted = summary["last_trusted_step"]
    typer.echo("No frame was trusted." if trusted is None else f"Last trusted frame: step {trusted}{_ago(summary)}.")
    if summary["stored"]:
        typer.echo(f"Frames of alarms: {summary['stored']}, written to {options.snapshots}.")
    if "handed_over" in summary:
        typer.echo(f"Added to the campaign: {summary['handed_over']} new frame(s).")
    typer.echo(f"Log of all checks: {options.log}.")


def _ago(summary: Mapping[str, Any]) -> str:
    steps, time_ps = summary["since_trusted_steps"], summary["since_trusted_ps"]
    if not steps:
        return ", the last one checked"
    return f", {steps} steps before the last one checked" + ("" if time_ps is None else f" ({time_ps:g} ps)")
