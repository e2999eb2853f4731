"""Fits on the benchmark's frames and their predictions for other frames, without evaluating the foundation again.

Forces of every member follow from cached features and tangents, as in training: five seeds cost five dense fits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from systems import CACHE, Frame, System
from telling import counting, making

import committee as committee_package
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.checkpoint import load, save
from committee.model.latent import switching_function
from committee.model.tangents import Tangents, cached_tangents
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train, training_hash
from committee.training.training_set import directions_of

Array = np.ndarray


@dataclass(frozen=True)
class Outcome:
    """A potential's uncertainties and errors on frames, per frame.

    Attributes:
        errors: (n,) norm of each atom's force error, eV/Å.
        sigmas: (n,) norm of each atom's force spread, eV/Å.
        distances: (n,) latent distance.
        components: (n, 3) force error, eV/Å.
        foundation: (n, 3) the foundation's force error, eV/Å.
        temperatures_K: (frames,).
    """

    errors: list[Array]
    sigmas: list[Array]
    distances: list[Array]
    components: list[Array]
    foundation: list[Array]
    temperatures_K: Array

    def select(self, chosen: Array) -> "Outcome":
        """The frames at these indices or under this mask."""
        rows = np.arange(len(self.errors))[chosen]
        lists = (self.errors, self.sigmas, self.distances, self.components, self.foundation)
        return Outcome(*([values[i] for i in rows] for values in lists), self.temperatures_K[rows])

    @property
    def mae(self) -> float:
        """Mean absolute error of the force components, eV/Å."""
        return float(np.abs(np.concatenate(self.components)).mean())

    @property
    def foundation_mae(self) -> float:
        """The foundation's, eV/Å."""
        return float(np.abs(np.concatenate(self.foundation)).mean())

    @property
    def worst(self) -> Array:
        """(frames,) largest error on any atom, eV/Å."""
        return np.array([values.max() for values in self.errors])


def backbone_of(system: System) -> Backbone:
    """Load a system's foundation."""
    return load_backbone(system.foundation)


def fit(
    backbone: Backbone,
    frames: Sequence[Frame],
    seed: int,
    committee: CommitteeSettings | None = None,
    training: TrainingSettings | None = None,
) -> CommitteePotential:
    """Train, by default with the default settings; identical fits are cached."""
    committee, training = committee or CommitteeSettings(), training or TrainingSettings()
    labelled = [frame.training for frame in frames]
    key = [training_hash(labelled), backbone.fingerprint, repr(committee), repr(training), str(seed), _sources()]
    folder = CACHE / "fits" / hashlib.sha256("/".join(key).encode()).hexdigest()[:20]
    if folder.is_dir():
        return load(folder, backbone)
    exact = all(directions_of(frame, training) is None for frame in labelled)
    making(f"the fit of {len(labelled)} labels, seed {seed}")
    potential = train(
        backbone,
        labelled,
        committee=committee,
        training=training,
        # A frame has one file: along random directions it would replace the exact tangents that ``outcome`` needs.
        cache_folder=CACHE / "tangents" if exact else None,
        seed=seed,
        progress=counting("frames whose tangents are known, then epochs"),
    )
    save(potential, folder)
    return potential


def identity(potential: CommitteePotential) -> str:
    """Return a hash of a committee's training frames and heads, under which its predictions are cached."""
    digest = hashlib.sha256(potential.provenance.training_hash.encode())
    for name, tensor in sorted(potential.heads.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:20]


def _sources() -> str:
    """Return the SHA-256 of the files that a fit depends on."""
    model = ("directions", "heads", "latent", "reference_shifts", "tangents")
    training = ("dense", "fitted_directions", "fitting", "losses", "train", "training_set")
    names = [*(f"model/{name}.py" for name in model), *(f"training/{name}.py" for name in training)]
    folder = Path(committee_package.__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def tangents(backbone: Backbone, frames: Sequence[Frame]) -> list[Tangents]:
    """Return the foundation's evaluation of the frames, from the cache."""
    named = [(f.training.id, f.training.atoms) for f in frames]
    report = counting("frames whose tangents are known")
    return cached_tangents(backbone, named, CACHE / "tangents", progress=report)


def outcome(potential: CommitteePotential, frames: Sequence[Frame]) -> Outcome:
    """Return errors, spreads and distances of frames, from one dense product per frame."""
    errors, sigmas, distances, components, foundation = [], [], [], [], []
    for frame, seen in zip(frames, tangents(potential.backbone, frames), strict=True):
        mean, members, distance = _forces(potential, frame, seen)
        wrong = mean - frame.forces
        errors.append(np.linalg.norm(wrong, axis=1))
        sigmas.append(np.linalg.norm(members.std(0, ddof=1), axis=1))
        distances.append(distance)
        components.append(wrong)
        foundation.append(seen.forces - frame.forces)
    return Outcome(
        errors, sigmas, distances, components, foundation, np.array([frame.temperature_K for frame in frames])
    )


def _forces(potential: CommitteePotential, frame: Frame, seen: Tangents) -> tuple[Array, Array, Array]:
    """Served forces (n, 3), members' forces without the switching function (K, n, 3) and latent distances (n,)."""
    assert potential.metric is not None
    heads, settings = potential.heads, potential.settings
    numbers = torch.as_tensor(frame.training.atoms.numbers)
    leaf = torch.as_tensor(seen.features).requires_grad_()
    distance = potential.metric(leaf, numbers)
    switch = switching_function(distance, settings.switch_start, settings.switch_end)
    switched = heads.mean_value(leaf, heads.rows(numbers)) * switch
    mean_slope = torch.autograd.grad(switched.sum(), leaf)[0]
    with torch.no_grad():
        _, slopes = heads(leaf, heads.rows(numbers))
        moves = torch.as_tensor(seen.tangents[: 3 * len(numbers)])
        mean = -torch.einsum("mnd,nd->m", moves, mean_slope).reshape(-1, 3)
        members = -torch.einsum("mnd,knd->km", moves, slopes).reshape(len(slopes), -1, 3)
    return seen.forces + mean.numpy().astype(float), members.numpy().astype(float), distance.detach().numpy()
