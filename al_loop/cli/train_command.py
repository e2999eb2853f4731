"""``al-loop train``: a thin function over ``al_loop.tools.train_file``."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from al_loop.cli.commands import LABELLED, AsJson, EnergyKey, ForcesKey, StressKey, app, print_notes
from al_loop.cli.errors import guarded

if TYPE_CHECKING:
    from al_loop.files.labels.names import LabelKeys
    from al_loop.tools.train_file import Recipe


@app.command()
@guarded
def train(
    labelled: Annotated[list[Path], typer.Argument(metavar="LABELLED...", help=LABELLED)],
    foundation: Annotated[
        str,
        typer.Option(help="As for predict; a campaign's YAML also gives its committee, train and gate blocks."),
    ],
    to: Annotated[Path, typer.Option(help="Output: folder of the checkpoint.")],
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Labelled frames of other trajectories; repeatable. Without any, no frame is trusted."),
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest acceptable force error, eV/Å.")] = None,
    level: Annotated[str, typer.Option(help="Level of theory of the labels, as free text.")] = "not stated",
    seed: Annotated[int, typer.Option(help="Random seed of the committee heads.")] = 0,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    check: Annotated[bool, typer.Option(help="Leave out labels far from the foundation model.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train a committee on labelled frames, without a campaign. Run again to resume."""
    from dataclasses import asdict

    from al_loop.errors import InputError

    if tolerance is not None and not tolerance > 0:
        raise InputError(f"--tolerance: received {tolerance:g}, expected a force error above 0 in eV/Å")
    from al_loop.files.sources import find_sources
    from al_loop.utils.paths import check_target_folder

    check_target_folder("--to", to)
    find_sources([*labelled, *(calibrate or [])])  # raises before a model is loaded
    from al_loop.files.labels.names import given_keys
    from al_loop.tools.foundation_argument import parse_foundation

    chosen = parse_foundation(foundation)
    recipe = _recipe(foundation, tolerance, level, given_keys(energy_key, forces_key, stress_key), seed, check=check)
    from al_loop.tools.train_file import train_on_files
    from al_loop.utils.progress import terminal_progress

    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # libraries on their own code
        terminal_progress(quiet=as_json).stage("training", unit="frames and epochs") as advance,
    ):
        done = train_on_files(labelled, chosen, to, recipe, calibration_files=calibrate or (), advance=advance)
    print_notes(done.notes)
    if as_json:
        typer.echo(json.dumps(asdict(done), allow_nan=False))
        return
    of_which = f" ({done.labels})" if done.labels.partial else ""
    typer.echo(f"Trained on {done.frames} frames{of_which}; the checkpoint is {to}.")
    if done.left_out:
        listed = "\n".join(f"  {sentence}" for sentence in done.left_out)
        typer.echo(f"Labels left out as outliers: {len(done.left_out)} (--no-check keeps them)\n{listed}")
    if done.force_mae_eV_per_A is not None:
        typer.echo(
            f"Force MAE on frames not trained on: {done.force_mae_eV_per_A:.4f} eV/Å, "
            f"of the foundation {done.force_mae_foundation_eV_per_A:.4f}. {done.calibration}"
        )


def _recipe(
    foundation: str, tolerance: float | None, level: str, keys: "LabelKeys | None", seed: int, *, check: bool
) -> "Recipe":
    from al_loop.config.gate_settings import GateSettings
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.tools.train_file import Recipe
    from committee.settings import CommitteeSettings, TrainingSettings

    committee, training, gate = CommitteeSettings(), TrainingSettings(), GateSettings()
    if foundation.endswith((".yaml", ".yml")):
        config = load_config(Path(foundation))
        committee, training, gate = config.committee, config.train, config.gate
    if tolerance is not None:
        gate = gate.model_copy(update={"force_tolerance_eV_per_A": tolerance})
    return Recipe(committee, training, gate, keys, level, seed, check)
