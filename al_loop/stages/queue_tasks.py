"""Inputs of a step in a queue, as JSON that keeps every bit."""

from base64 import b64decode, b64encode
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from pydantic import BaseModel, Field

from al_loop.config import Config, ExploreSettings, PhysicsSettings
from al_loop.frames.codec import pack_atoms, unpack_atoms
from al_loop.records import LabelledFrame, Role
from al_loop.structures.start import Start
from committee.settings import FoundationSettings
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
    return {**plain, "atoms": _packed(start.atoms), "intact": _packed(start.intact), "role": start.role.value}


def start_from_dict(data: dict[str, Any]) -> Start:
    """The inverse of ``start_as_dict``."""
    atoms, intact = _unpacked(data["atoms"]), _unpacked(data["intact"])
    return Start(**{**data, "role": Role(data["role"]), "seed": tuple(data["seed"]), "atoms": atoms, "intact": intact})


def frame_as_dict(frame: LabelledFrame) -> dict[str, Any]:
    """Return what the fit needs of a labelled frame as plain values."""
    return {
        "frame_id": frame.frame_id,
        "atoms": _packed(frame.atoms),
        "role": frame.role.value,
        "system": frame.system,
        "trajectory": frame.trajectory,
        "round": frame.round,
        "label": label_as_dict(frame.label),
    }


def frame_from_dict(data: dict[str, Any]) -> LabelledFrame:
    """The inverse of ``frame_as_dict``."""
    atoms, label = _unpacked(data["atoms"]), label_from_dict(data["label"])
    return LabelledFrame(**{**data, "role": Role(data["role"]), "atoms": atoms, "label": label})


def _packed(atoms: Atoms) -> str:
    return b64encode(pack_atoms(atoms)).decode()


def _unpacked(text: str) -> Atoms:
    return unpack_atoms(b64decode(text))
