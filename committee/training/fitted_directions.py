"""Directions of tangents that a fit itself points out: those of the errors that it leaves on the training frames."""

import logging
from collections.abc import Callable
from dataclasses import replace

from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.tangents import TangentCache
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.training_set import TrainingSet, directions_of

_LOG = logging.getLogger(__name__)

Fit = Callable[[TrainingSet], tuple[ResidualHeads, LatentDistance]]


def with_fitted_directions(
    frames: TrainingSet,
    fit: Fit,
    committee: CommitteeSettings,
    training: TrainingSettings,
    cache: TangentCache,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingSet:
    """Add to every frame with random directions those of the errors that successive fits leave.

    The errors of a fit to a few directions lie in what those do not cover. With the direction of a frame's error among
    its directions the gradient of its loss is exact where the fit ended. Frames that have such directions of an
    earlier training keep them, so that a retraining evaluates new frames only.

    Args:
        frames: the training set.
        fit: returns heads fitted to some frames, and the latent distance.
        committee: settings of the heads.
        training: settings of the directions: their number and the weights of the errors.
        cache: of the tangents.
        progress: called with (frames done, number of frames).
    """
    number = training.fitted_directions
    for earlier in range(number):
        tangents = list(frames.tangents)
        lacking = [i for i, entry in enumerate(tangents) if len(entry.directions) and entry.n_fitted == earlier]
        if not lacking:
            continue
        _LOG.info("fit %d of %d, which points out directions of %d frames", earlier + 1, number, len(lacking))
        heads, latent = fit(_with_fitted(frames, earlier))
        chosen = frames.part(lacking)
        extended = cache.extend(
            [(frame.id, frame.atoms) for frame in chosen.frames],
            chosen.tangents,
            [directions_of(frame, training) for frame in chosen.frames],
            chosen.correction_slopes(heads, latent, committee),
            progress,
        )
        for i, entry in zip(lacking, extended, strict=True):
            tangents[i] = entry
        frames = replace(frames, tangents=tangents)
    return _with_fitted(frames, number)


def _with_fitted(frames: TrainingSet, number: int) -> TrainingSet:
    return replace(frames, tangents=[entry.with_fitted(number) for entry in frames.tangents])
