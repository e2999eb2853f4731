"""The fit of a round's candidate, in the campaign's process or in a job of a queue."""

from collections.abc import Callable

from al_loop.config import Config
from al_loop.stages.train.alignment import TrainingInput
from al_loop.utils.progress import Advance
from committee.backbones.contract import Backbone
from committee.potential import CommitteePotential
from committee.training.train import train

TRAIN_SEED = 6
TANGENTS = "tangents"


def fit_candidate(
    config: Config, backbone: Backbone, given: TrainingInput, level: str, advance: Advance
) -> CommitteePotential:
    """Fit a committee; the result is reproducible.

    Args:
        config: the campaign, with an absolute folder.
        backbone: the foundation.
        given: the training set.
        level: description of the level of theory.
        advance: called with the number of frames and epochs done.
    """
    return train(
        backbone,
        given.frames,
        committee=config.committee,
        training=config.train,
        cache_folder=config.folder / TANGENTS,
        seed=config.seed + TRAIN_SEED,
        level_of_theory=level,
        prior_shifts_eV=given.prior_shifts_eV,
        progress=incremental(advance),
    )


def incremental(advance: Advance) -> Callable[[int, int], None]:
    """Turn a count, which starts again with each part of the work, into increments."""
    last = 0

    def progress(done: int, _total: int) -> None:
        nonlocal last
        advance(done - last if done > last else done)
        last = done

    return progress
