"""Committee checkpoints: tensors as safetensors, everything else as JSON. Loading executes no code."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from committee.backbones import load_backbone
from committee.backbones.contract import Backbone, OpenBackbone
from committee.errors import CheckpointError
from committee.foreign import reading
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.reference_shifts import ReferenceShifts
from committee.potential import CommitteePotential, Provenance
from committee.settings import CommitteeSettings, SevenNetSettings
from committee.sevennet_names import is_shipped
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores

SCHEMA_VERSION = 1
TENSORS, DESCRIPTION = "committee.safetensors", "committee.json"
ADAPTED = "adapted.safetensors"
"""The foundation's changed weights, beside the others if the committee stands on an adapted foundation."""
_SEAL = "description_sha256"
_REMEDY = "restore it or train again"
LATENT = ("elements_", "means_", "whiteners_", "scales_")


def save(potential: CommitteePotential, folder: Path | str) -> None:
    """Write a committee; existing files are replaced only once the new ones are complete.

    Args:
        potential: the committee; of the foundation only name, fingerprint and the weights that adaptation changed are
            kept.
        folder: the checkpoint's folder; it is created if missing.

    Raises:
        CheckpointError: the folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    files = {TENSORS: save_tensors(_tensors(potential))}
    changed = _changed_weights(potential.backbone)
    if changed:
        files[ADAPTED] = save_tensors(dict(changed))
    description = _description(potential, {name: _sha256(content) for name, content in files.items()})
    text = json.dumps(description, indent=1, allow_nan=False)
    try:
        _write(folder, {**files, DESCRIPTION: text.encode()})
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {folder} cannot be written ({error.strerror}); earlier content is unchanged. "
            "Choose another folder, or free some space."
        ) from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write to a temporary folder and rename it, so that a reader never sees a partial checkpoint."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        temporary.chmod(0o755)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path | str, backbone: Backbone | None = None) -> CommitteePotential:
    """Load a committee.

    Args:
        folder: a folder written by ``save``.
        backbone: the foundation it was trained on, or for an adapted one that before its adaptation. By default it is
            loaded by name, which is possible for SevenNet models that the wheel ships; any other must be passed.

    Raises:
        CheckpointError: missing, truncated, edited, of another version, or trained on another foundation.
        FoundationError: the adapted weights do not fit the foundation.
    """
    folder = Path(folder)
    description, content, changed = _read(folder)
    with reading(folder, _REMEDY):
        return _assemble(description, content, _backbone(description, backbone, changed))


def content_hash(folder: Path | str) -> str:
    """Return the SHA-256 of a checkpoint's files.

    Raises:
        CheckpointError: one of them is missing or cannot be read.
    """
    folder = Path(folder)
    digest = hashlib.sha256()
    for name in (DESCRIPTION, TENSORS, ADAPTED):
        with reading(folder / name, _REMEDY):
            if name == ADAPTED and not (folder / name).exists():
                continue
            content = (folder / name).read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def check_content(folder: Path | str, expected: str) -> None:
    """Compare a checkpoint with the ``content_hash`` recorded when it was written.

    Raises:
        CheckpointError: the checkpoint is missing or differs.
    """
    found = content_hash(folder)
    if found != expected:
        raise CheckpointError(
            f"{folder} is another checkpoint than the one that was written there: its SHA-256 is {found[:12]}..., "
            f"expected {expected[:12] or 'nothing'}..."
        )


def _tensors(potential: CommitteePotential) -> dict[str, Tensor]:
    tensors = {f"heads.{name}": value.cpu().contiguous() for name, value in potential.heads.state_dict().items()}
    if potential.latent is not None:
        for name in LATENT:
            tensors[f"latent.{name}"] = torch.as_tensor(getattr(potential.latent, name)).contiguous()
    return tensors


def _changed_weights(backbone: Backbone) -> Mapping[str, Tensor]:
    return backbone.changed_weights if isinstance(backbone, OpenBackbone) else {}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _description(potential: CommitteePotential, sha256: Mapping[str, str]) -> dict[str, Any]:
    backbone, shifts, scores = potential.backbone, potential.shifts, potential.calibration_scores
    return sealed(
        {
            "schema_version": SCHEMA_VERSION,
            "tensors_sha256": sha256[TENSORS],
            "backbone": {
                "name": backbone.name,
                "fingerprint": backbone.fingerprint,
                "adapted_from": _adapted_from(backbone, sha256.get(ADAPTED)),
            },
            "committee": potential.settings.model_dump(mode="json"),
            "elements": list(potential.heads.elements),
            "shifts": {**asdict(shifts), "eV_per_atom": {str(z): value for z, value in shifts.eV_per_atom.items()}},
            "provenance": asdict(potential.provenance),
            "calibration": None if potential.calibration is None else potential.calibration.to_dict(),
            "calibration_scores": None if scores is None else scores.to_dict(),
        }
    )


def _adapted_from(backbone: Backbone, weights_sha256: str | None) -> dict[str, str] | None:
    """Describe the foundation before its adaptation; None if it was not adapted."""
    if weights_sha256 is None or not isinstance(backbone, OpenBackbone):
        return None
    return {
        "name": backbone.base_name,
        "fingerprint": backbone.base_fingerprint,
        "level_of_theory": backbone.level_of_theory,
        "weights_sha256": weights_sha256,
    }


def sealed(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with the SHA-256 of its content added."""
    content = {key: value for key, value in description.items() if key != _SEAL}
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return {**content, _SEAL: hashlib.sha256(text.encode()).hexdigest()}


def _was_edited(description: Mapping[str, Any]) -> bool:
    try:
        return sealed(description) != description
    except ValueError:  # NaN, which ``sealed`` refuses to write
        return True


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Swap folders by renaming; a folder cannot be renamed onto one that is not empty."""
    if not folder.exists():
        temporary.rename(folder)
        return
    if not (folder / DESCRIPTION).is_file() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} holds files other than a committee checkpoint; choose another folder.")
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    folder.rename(old / folder.name)
    temporary.rename(folder)
    shutil.rmtree(old)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return the description, the committee's tensors and the changed weights of its foundation."""
    for name in (DESCRIPTION, TENSORS):
        _require_file(folder, name)
    with reading(folder / DESCRIPTION, _REMEDY):
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        _require_readable(folder, description)
        is_edited = _was_edited(description)
    tensors = _read_tensors(folder / TENSORS, description.get("tensors_sha256"))
    if is_edited:
        raise _edited(folder / DESCRIPTION)
    with reading(folder / DESCRIPTION, _REMEDY):
        adapted = description["backbone"]["adapted_from"]
    if adapted is None:
        return description, tensors, {}
    _require_file(folder, ADAPTED)
    return description, tensors, _read_tensors(folder / ADAPTED, adapted["weights_sha256"])


def _require_file(folder: Path, name: str) -> None:
    with reading(folder / name, _REMEDY):
        if not (folder / name).is_file():
            state = "no file" if (folder / name).exists() else "missing"
            raise CheckpointError(f"{folder} is no committee checkpoint: {name} is {state}.")


def _read_tensors(path: Path, expected_sha256: object) -> dict[str, Tensor]:
    with reading(path, _REMEDY):
        content = path.read_bytes()
    if _sha256(content) != expected_sha256:
        raise _edited(path)
    with reading(path, _REMEDY):
        return load_tensors(content)


def _edited(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} was truncated or edited: its SHA-256 differs; restore it or train again.")


def _require_readable(folder: Path, description: object) -> None:
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise CheckpointError(
            f"{folder} has schema version {version}, this release reads {SCHEMA_VERSION}; "
            "upgrade the package or train again."
        )


def _backbone(description: Mapping[str, Any], backbone: Backbone | None, changed: Mapping[str, Tensor]) -> Backbone:
    """Return the foundation that the heads belong to; raise if another one is given or it must be passed."""
    expected = description["backbone"]
    adapted = expected["adapted_from"]
    backbone = backbone or _load_shipped(str((adapted or expected)["name"]))
    if adapted and backbone.fingerprint == adapted["fingerprint"] and isinstance(backbone, OpenBackbone):
        backbone = backbone.with_weights(changed, adapted["level_of_theory"])
    if backbone.fingerprint != expected["fingerprint"]:
        before = f", which was adapted from {adapted['name']} ({adapted['fingerprint'][:12]})" if adapted else ""
        raise CheckpointError(
            f"These heads were trained on {expected['name']} (fingerprint {expected['fingerprint'][:12]}){before}, "
            f"received {backbone.name} ({backbone.fingerprint[:12]}); pass the foundation they were trained on."
        )
    return backbone


def _load_shipped(name: str) -> Backbone:
    """Load a foundation by the name of weights that a package ships.

    Foundation checkpoints are pickles, and loading a pickle runs code: a path from a committee checkpoint is never
    opened unless the user passes it, nor is a file in the current folder that has the name of a shipped model.
    """
    kind, _, rest = name.partition(":")
    model, _, fidelity = rest.partition("/")
    if kind == "sevennet" and is_shipped(model) and not Path(model).exists():
        return load_backbone(SevenNetSettings(kind="sevennet", model=model, fidelity=fidelity or None))
    raise CheckpointError(
        f"These heads need the foundation {name}. A committee checkpoint never causes its weights to be opened, "
        "since opening them runs code: load it yourself and pass it, load(folder, backbone=load_backbone(...))."
    )


def _assemble(description: Mapping[str, Any], tensors: Mapping[str, Tensor], backbone: Backbone) -> CommitteePotential:
    settings = CommitteeSettings.model_validate(description["committee"])
    heads = ResidualHeads(settings, backbone.feature_size, tuple(description["elements"]), seed=0)
    heads.to(tensors["heads.mean"].dtype)
    heads.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("heads.")})
    shifts, provenance = description["shifts"], description["provenance"]
    calibration, scores = description["calibration"], description["calibration_scores"]
    return CommitteePotential(
        backbone,
        settings,
        heads,
        _latent(tensors),
        ReferenceShifts(
            {int(z): float(value) for z, value in shifts["eV_per_atom"].items()},
            tuple(shifts["undetermined"]),
            float(shifts["residual_spread_eV_per_atom"]),
        ),
        Provenance(**{**provenance, "periodic_directions": tuple(provenance["periodic_directions"])}),
        None if calibration is None else Calibration.from_dict(calibration),
        None if scores is None else CalibrationScores.from_dict(scores),
    )


def _latent(tensors: Mapping[str, Tensor]) -> LatentDistance | None:
    if "latent.means_" not in tensors:
        return None
    latent = LatentDistance()
    for name in LATENT:
        setattr(latent, name, tensors[f"latent.{name}"].numpy().copy())
    return latent
