"""SevenNet and MACE trained by their own command lines, as a careful user would; a training is cached.

SevenNet: the preset ``fine_tune`` of its package, with the learning rates, loss and weights of its makers. MACE: the
options of its README, with a small network, small batches and a falling learning rate, since the epochs are fewer. For
either a tenth of the labels chooses the best epoch.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from systems import CACHE, SEVENNET
from telling import making

from committee.adaptation.objective import foundation_targets
from committee.backbones import load_backbone
from committee.settings import TrainingSettings
from committee.training.train import TrainingFrame, training_hash
from committee.training.training_set import fit_shifts

VALID_SHARE = 0.1


@dataclass(frozen=True)
class EpochsOf:
    """Passes over the labels."""

    sevennet: int
    mace: int


@dataclass(frozen=True)
class Peer:
    """Labels that a peer learns from.

    Attributes:
        frames: labelled frames without stress.
        seed: of the division into fitted and validation frames, and of the training.
    """

    frames: list[TrainingFrame]
    seed: int

    def write(self, folder: Path, energies_eV: Sequence[float]) -> None:
        """Write train.extxyz and valid.extxyz with these energies."""
        order = np.random.default_rng(self.seed).permutation(len(self.frames))
        held = max(1, round(VALID_SHARE * len(self.frames)))
        for name, chosen in (("valid", order[:held]), ("train", order[held:])):
            labelled = [_labelled(self.frames[i], energies_eV[i]) for i in sorted(chosen)]
            write(folder / f"{name}.extxyz", labelled, format="extxyz")

    def place(self, name: str, recipe: str) -> Path:
        """Return the folder of a training, under a hash of labels and recipe."""
        key = hashlib.sha256("/".join([training_hash(self.frames), recipe, str(self.seed)]).encode()).hexdigest()[:20]
        return CACHE / "peers" / f"{name}-{key}"


def sevennet_checkpoint(peer: Peer, epochs: int) -> Path:
    """Fine-tune SevenNet-0 with ``sevenn train``; return the checkpoint of the best epoch.

    The labels' energies are shifted by the least squares of their differences to SevenNet-0's: its preset keeps the
    reference energies of the foundation fixed, and the first step would start from an error of hundreds of eV/atom.
    """
    recipe = yaml.safe_load(files("sevenn").joinpath("presets", "fine_tune.yaml").read_text())
    settings = recipe["train"]
    settings |= {"epoch": epochs, "is_train_stress": False, "random_seed": peer.seed, "per_epoch": epochs}
    settings["error_record"] = [["Energy", "MAE"], ["Force", "MAE"], ["TotalLoss", "None"]]
    recipe["data"]["load_trainset_path"] = ["./train.extxyz"]
    recipe["data"]["load_validset_path"] = ["./valid.extxyz"]
    del recipe["data"]["load_testset_path"]
    text = yaml.safe_dump(recipe)
    folder = peer.place("sevennet", text)
    if not folder.is_dir():
        with _Workplace(folder) as work:
            peer.write(work, _shifted_eV(peer.frames))
            (work / "input.yaml").write_text(text)
            _run(work, Path(sys.executable).parent / "sevenn", "train", "input.yaml", "-s")
    return folder / "checkpoint_best.pth"


def mace_forces(peer: Peer, programs: Path, atoms_from: Path, epochs: int, frames: Sequence[Atoms]) -> list[np.ndarray]:
    """Train MACE from nothing with ``mace_run_train``; return its forces (n, 3) on frames, eV/Å.

    Args:
        peer: labels.
        programs: folder of MACE's programs.
        atoms_from: folder of the energies of the isolated atoms at the labels' level, which MACE starts from.
        epochs: the last fifth is the second stage, with a larger weight of the energy and an average of the weights.
        frames: structures.
    """
    isolated = read(atoms_from / "3bpa-isolated-atoms.xyz", ":")
    energies_eV = {int(atom.numbers[0]): float(atom.get_potential_energy()) for atom in isolated}
    options = {
        "name": "mace",
        "train_file": "train.extxyz",
        "valid_file": "valid.extxyz",
        "E0s": str(energies_eV),
        "model": "MACE",
        "hidden_irreps": "64x0e + 64x1o",
        "r_max": "5.0",
        "batch_size": "2",
        "valid_batch_size": "5",
        "scheduler": "ExponentialLR",
        "lr_scheduler_gamma": "0.99",
        "max_num_epochs": str(epochs),
        "start_swa": str(max(0, epochs - epochs // 5)),
        "ema_decay": "0.99",
        "eval_interval": str(max(1, min(5, epochs // 5))),
        "default_dtype": "float32",
        "device": "cpu",
        "seed": str(peer.seed),
        "energy_key": "REF_energy",
        "forces_key": "REF_forces",
    }
    command = [*(f"--{key}={value}" for key, value in options.items()), "--swa", "--ema", "--amsgrad"]
    folder = peer.place("mace", " ".join(command))
    if not folder.is_dir():
        with _Workplace(folder) as work:
            peer.write(work, [frame.energy_eV for frame in peer.frames])
            _run(work, programs / "mace_run_train", *command)
    model = next(path for path in (folder / "mace_stagetwo.model", folder / "mace.model") if path.is_file())
    write(folder / "asked.extxyz", list(frames), format="extxyz")
    arguments = {"configs": "asked.extxyz", "model": model.name, "output": "predicted.extxyz", "device": "cpu"}
    arguments["default_dtype"] = "float32"
    _run(folder, programs / "mace_eval_configs", *(f"--{key}={value}" for key, value in arguments.items()))
    return [found.arrays["MACE_forces"] for found in read(folder / "predicted.extxyz", ":")]


class _Workplace:
    """A folder that gets its name only when everything in it has been made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._work = folder.with_suffix(".unfinished")

    def __enter__(self) -> Path:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        making(f"the training in {self._folder.relative_to(CACHE)}")
        return self._work

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._work.rename(self._folder)


def _run(folder: Path, program: Path, *arguments: str) -> None:
    """Run a program in a folder; its output goes to a log there."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / f"{program.name}.log").open("w") as log:
        subprocess.run([program, *arguments], cwd=folder, env=environment, stdout=log, stderr=log, check=True)


def _shifted_eV(frames: Sequence[TrainingFrame]) -> list[float]:
    """Return the labels' energies above the reference shifts between their level and SevenNet-0's."""
    targets = foundation_targets(load_backbone(SEVENNET), [frame.atoms for frame in frames])
    shifts = fit_shifts(frames, np.array([target.energy_eV for target in targets]), TrainingSettings())
    return [frame.energy_above(shifts) for frame in frames]


def _labelled(frame: TrainingFrame, energy_eV: float) -> Atoms:
    """Return a frame with its label under ASE's names and under those that MACE expects."""
    atoms = Atoms(frame.atoms.numbers, frame.atoms.positions)
    atoms.calc = SinglePointCalculator(atoms, energy=energy_eV, forces=frame.forces_eV_per_A)
    atoms.info["REF_energy"] = energy_eV
    atoms.arrays["REF_forces"] = frame.forces_eV_per_A
    return atoms
