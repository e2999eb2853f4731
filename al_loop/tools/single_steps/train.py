"""Train a committee without a campaign: ``al_loop.train`` and ``al-loop train``."""

from dataclasses import dataclass
from pathlib import Path

from al_loop.config.gate_settings import GateSettings
from al_loop.errors import InputError
from al_loop.files.labels.names import given_keys
from al_loop.files.sources import find_sources
from al_loop.tools.foundation_argument import FoundationArgument, parse_foundation
from al_loop.tools.open_model import YAML
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.train_file import Recipe, Trained, train_on_files
from al_loop.utils.paths import Paths, as_paths, check_target_folder
from al_loop.utils.progress import Advance, show_nothing
from committee.settings import CommitteeSettings, TrainingSettings


def train(
    labelled: Paths,
    foundation: FoundationArgument,
    to: str | Path,
    *,
    calibrate: Paths = (),
    tolerance_eV_per_A: float | None = None,
    level: str = "not stated",
    seed: int = 0,
    committee: CommitteeSettings | None = None,
    training: TrainingSettings | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    check: bool = True,
    advance: Advance = show_nothing,
) -> Trained:
    """Train a committee on files of labelled frames and write its checkpoint.

    Tangents are kept in ``<to>-tangents``: the same call goes on where it was interrupted, and a later one with more
    frames computes only the new ones.

    Args:
        labelled: DFT outputs, extxyz, aselmdb, ASE databases: files, folders, patterns such as ``runs/**/OUTCAR``.
        foundation: ``sevennet:MODEL[:FIDELITY]``, ``fairchem:MODEL:TASK`` or settings; or a campaign's YAML file, whose
            ``committee``, ``train`` and ``gate`` blocks are used too.
        to: the checkpoint's folder; another checkpoint there is replaced once the new one is complete.
        calibrate: labelled frames of other trajectories; without any no frame is ever trusted.
        tolerance_eV_per_A: largest acceptable force error; by default that of the campaign, or of ``GateSettings``.
        level: level of theory of the labels, in words.
        seed: of the heads and of the bootstrap.
        committee: the heads; by default those of the campaign, or ``CommitteeSettings()``.
        training: the fit; by default that of the campaign, or ``TrainingSettings()``.
        energy_key: name of the energies, eV; by default ``REF_energy``, or ASE's own energy.
        forces_key: name of the forces, eV/Å; by default as for the energies.
        stress_key: name of the stresses, eV/Å³; by default as for the energies.
        check: refuse labels whose unit, sign or order does not fit the foundation, and leave outliers out.
        advance: called with the number of frames and epochs that are done.

    Returns:
        Numbers of frames and labels; with ``calibrate`` the force errors on those frames, eV/Å.

    Raises:
        InputError: files that are not what they should be, labels that do not fit the foundation, a calibration frame
            that is trained on, or a folder that cannot be written.
        FoundationError: a foundation that cannot be loaded.
        CommitteeError: frames that nothing can be learnt from.

    Examples:
        >>> from al_loop import train
        >>> from committee import CommitteeSettings, TrainingSettings
        >>> done = train(
        ...     "labelled.extxyz",
        ...     "fairchem:distilled.pt:omat",
        ...     to="model",
        ...     calibrate="others.extxyz",
        ...     tolerance_eV_per_A=0.3,
        ...     committee=CommitteeSettings(members=4),
        ...     training=TrainingSettings(epochs=60),
        ... )
        >>> done.frames, done.force_mae_eV_per_A < done.force_mae_foundation_eV_per_A
        (8, True)
    """
    if tolerance_eV_per_A is not None and not tolerance_eV_per_A > 0:
        raise InputError(f"--tolerance: received {tolerance_eV_per_A:g}, expected a force error above 0 in eV/Å")
    files, held_back, folder = as_paths(labelled), as_paths(calibrate), Path(to)
    check_target_folder("--to", folder)
    find_sources([*files, *held_back])  # refused before a model is loaded
    chosen = parse_foundation(foundation)
    blocks = _blocks(foundation)
    gate = blocks.gate
    if tolerance_eV_per_A is not None:
        gate = gate.model_copy(update={"force_tolerance_eV_per_A": tolerance_eV_per_A})
    keys = given_keys(energy_key, forces_key, stress_key)
    recipe = Recipe(committee or blocks.committee, training or blocks.training, gate, keys, level, seed, check)
    return train_on_files(files, chosen, folder, recipe, calibration_files=held_back, advance=advance)


@dataclass(frozen=True)
class _Blocks:
    """The blocks of a campaign's config that a training without the campaign uses."""

    committee: CommitteeSettings
    training: TrainingSettings
    gate: GateSettings


def _blocks(foundation: FoundationArgument) -> _Blocks:
    """Return those of the campaign that names the foundation, or the defaults."""
    if not (isinstance(foundation, str | Path) and str(foundation).endswith(YAML)):
        return _Blocks(CommitteeSettings(), TrainingSettings(), GateSettings())
    config = load_config(Path(foundation))
    return _Blocks(config.committee, config.train, config.gate)
