"""Inputs of a step in a queue, as JSON that keeps every bit."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from pydantic import BaseModel, Field

from al_loop.config import Config, ExploreSettings, PhysicsSettings
from al_loop.frames.plain_atoms import constraints_from_text, constraints_text
from al_loop.records import LabelledFrame, Role
from al_loop.structures.start import Start
from committee.settings import FoundationSettings
from dft_interfaces.files.atoms_json import atoms_as_dict, atoms_from_dict
from dft_interfaces.files.label_json import label_as_dict, label_from_dict


class ExploreTask(BaseModel):
    """Trajectories to run.

    Attributes:
        threads: of the model's evaluation.
        foundation: the foundation of the model.
        model: folder of the checkpoint of the exploring model.
        trajectories: folder that they are written to.
        starts: ``start_as_dict`` of each.
        settings: of the exploration.
        physics: limits of the physics check.
    """

    kind: Literal["explore"] = "explore"
    threads: int
    foundation: FoundationSettings
    model: Path
    trajectories: Path
    starts: list[dict[str, Any]]
    settings: ExploreSettings
    physics: PhysicsSettings


class TrainTask(BaseModel):
    """A committee to fit.

    Attributes:
        threads: of the fit and of the foundation.
        config: the campaign's, without its database.
        level: description of the level of theory.
        first: no committee was trained before.
        frames: ``frame_as_dict`` of each label.
        compared_only: labels that are compared with the foundation and not trained on.
    """

    kind: Literal["train"] = "train"
    threads: int
    config: Config
    level: str
    first: bool
    frames: list[dict[str, Any]]
    compared_only: list[dict[str, Any]]


Task = Annotated[ExploreTask | TrainTask, Field(discriminator="kind")]


class TaskFile(BaseModel):
    """A task as it is stored on disk."""

    task: Task


def start_as_dict(start: Start) -> dict[str, Any]:
    """Return the start of a trajectory as plain values."""
    plain = {field.name: getattr(start, field.name) for field in fields(start)}
    structures = {name: _moving_as_dict(getattr(start, name)) for name in ("atoms", "intact")}
    return {**plain, **structures, "role": start.role.value}


def start_from_dict(data: dict[str, Any]) -> Start:
    """The inverse of ``start_as_dict``."""
    atoms, intact = _moving_from_dict(data["atoms"]), _moving_from_dict(data["intact"])
    return Start(**{**data, "role": Role(data["role"]), "seed": tuple(data["seed"]), "atoms": atoms, "intact": intact})


def _moving_as_dict(atoms: Atoms) -> dict[str, Any]:
    """All that a label depends on, with masses (u) and constraints, which the motion depends on."""
    masses = atoms.get_masses().tolist() if atoms.has("masses") else None
    return {**atoms_as_dict(atoms), "masses_u": masses, "constraints": constraints_text(atoms.constraints)}


def _moving_from_dict(data: dict[str, Any]) -> Atoms:
    atoms = atoms_from_dict(data)
    if data["masses_u"] is not None:
        atoms.set_masses(data["masses_u"])
    atoms.set_constraint(constraints_from_text(data["constraints"]))
    return atoms


def frame_as_dict(frame: LabelledFrame) -> dict[str, Any]:
    """Return a labelled frame as plain values."""
    plain = {field.name: getattr(frame, field.name) for field in fields(frame)}
    return {**plain, "role": frame.role.value, "atoms": atoms_as_dict(frame.atoms), "label": label_as_dict(frame.label)}


def frame_from_dict(data: dict[str, Any]) -> LabelledFrame:
    """The inverse of ``frame_as_dict``."""
    atoms, label = atoms_from_dict(data["atoms"]), label_from_dict(data["label"])
    return LabelledFrame(**{**data, "role": Role(data["role"]), "atoms": atoms, "label": label})
