"""The files of a step in a queue: its task, as JSON that keeps every bit, and its result."""

import hashlib
import shutil
import tempfile
from base64 import b64decode, b64encode
from dataclasses import fields
from logging import getLogger
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from pydantic import BaseModel, Field

from al_loop.config import Config, ExploreSettings, PhysicsSettings
from al_loop.errors import CampaignError, InputError
from al_loop.frames.codec import pack_atoms, unpack_atoms
from al_loop.records import LabelledFrame, Role
from al_loop.structures.start import Start
from al_loop.utils.foreign_input import reading
from committee.checkpoint import DESCRIPTION, check_content, content_hash, save
from committee.errors import CheckpointError
from committee.potential import CommitteePotential
from committee.settings import FoundationSettings
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.label_json import label_as_dict, label_from_dict
from dft_interfaces.files.sealed_json import unsealed

logger = getLogger("al_loop.stages")

FOLDER = "queued"  # below the campaign's
TASK, MODEL = "task.json", "model"
PROGRESS, DONE, FAILED = "progress.json", "done.json", "failed.json"


class ExploreTask(BaseModel):
    """Trajectories to run."""

    kind: Literal["explore"] = "explore"
    threads: int
    foundation: FoundationSettings
    model: Path
    trajectories: Path
    starts: list[dict[str, Any]]
    settings: ExploreSettings
    physics: PhysicsSettings


class TrainTask(BaseModel):
    """A committee to fit; ``served`` is the checkpoint of the served model if it stands on an adapted foundation."""

    kind: Literal["train"] = "train"
    threads: int
    config: Config
    level: str
    first: bool
    frames: list[dict[str, Any]]
    compared_only: list[dict[str, Any]]
    held_back: list[dict[str, Any]]
    replay: list[str]
    served: Path | None
    attempted_labels: int = 0


Task = Annotated[ExploreTask | TrainTask, Field(discriminator="kind")]


class TaskFile(BaseModel):
    """A task as it is stored on disk."""

    task: Task


def start_as_dict(start: Start) -> dict[str, Any]:
    """Return the start of a trajectory as plain values."""
    plain = {field.name: getattr(start, field.name) for field in fields(start)}
    return {
        **plain,
        "atoms": atoms_as_text(start.atoms),
        "intact": atoms_as_text(start.intact),
        "role": start.role.value,
    }


def start_from_dict(data: dict[str, Any]) -> Start:
    """The inverse of ``start_as_dict``."""
    atoms, intact = atoms_from_text(data["atoms"]), atoms_from_text(data["intact"])
    return Start(**{**data, "role": Role(data["role"]), "seed": tuple(data["seed"]), "atoms": atoms, "intact": intact})


def frame_as_dict(frame: LabelledFrame) -> dict[str, Any]:
    """Return what the fit needs of a labelled frame as plain values."""
    return {
        "frame_id": frame.frame_id,
        "atoms": atoms_as_text(frame.atoms),
        "role": frame.role.value,
        "system": frame.system,
        "trajectory": frame.trajectory,
        "round": frame.round,
        "label": label_as_dict(frame.label),
    }


def frame_from_dict(data: dict[str, Any]) -> LabelledFrame:
    """The inverse of ``frame_as_dict``."""
    atoms, label = atoms_from_text(data["atoms"]), label_from_dict(data["label"])
    return LabelledFrame(**{**data, "role": Role(data["role"]), "atoms": atoms, "label": label})


def step_folder(campaign_folder: Path, step: str, task: str) -> Path:
    """Create and return the folder of a step with its task file; each task has its own folder."""
    content = task.encode()
    folder = campaign_folder / FOLDER / f"{step}-{_digest(content)}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / TASK
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, task)
    return folder


def kept_model(potential: CommitteePotential, campaign_folder: Path) -> Path:
    """Save the model for the job, in a folder named by its hash: the same model has the same folder."""
    folder = campaign_folder / FOLDER
    folder.mkdir(exist_ok=True, mode=0o700)
    temporary = Path(tempfile.mkdtemp(prefix=".model-", dir=folder))
    try:
        save(potential, temporary / "new")
        digest = hashlib.sha256((temporary / "new" / DESCRIPTION).read_bytes()).hexdigest()[:16]
        place = folder / f"model-{digest}"
        try:
            check_content(place, content_hash(temporary / "new"))
        except CheckpointError:  # missing or damaged
            shutil.rmtree(place, ignore_errors=True)
            (temporary / "new").rename(place)
        return place
    finally:
        shutil.rmtree(temporary)


def read_task(folder: Path) -> str:
    """Return the task in a step's folder; the folder's name holds its checksum.

    Raises:
        CampaignError: the task does not match its checksum, or cannot be read.
    """
    with reading(folder / TASK, "run the same command again, which writes it again"):
        content = (folder / TASK).read_bytes()
    if not folder.name.endswith(f"-{_digest(content)}"):
        raise CampaignError(
            f"{folder / TASK} was damaged: its SHA-256 is not the one in its folder's name. Run the same command "
            "again, which writes it again"
        )
    return content.decode()


def read_result(path: Path) -> dict[str, Any] | None:
    """Return the result file of a job; None if there is none, or if it does not match its checksum.

    A damaged file is removed and named in the log: the job that wrote it counts as lost.
    """
    try:
        content = path.read_bytes()
    except OSError:  # missing, or not visible yet on a network file system
        return None
    try:
        with reading(path, "its job counts as one without a result"):
            return unsealed(content.decode())
    except InputError as error:
        logger.warning("%s", error)
        path.unlink(missing_ok=True)
        return None


def _digest(task: bytes) -> str:
    return hashlib.sha256(task).hexdigest()[:16]


def atoms_as_text(atoms: Atoms) -> str:
    """Return a structure as text that keeps every bit."""
    return b64encode(pack_atoms(atoms)).decode()


def atoms_from_text(text: str) -> Atoms:
    """The inverse of ``atoms_as_text``."""
    return unpack_atoms(b64decode(text))
