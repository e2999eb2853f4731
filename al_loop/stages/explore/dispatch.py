"""EXPLORE in this process or in a job of a queue, with the same trajectories on disk."""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from al_loop.config import Config, ExploreSettings
from al_loop.stages.explore.run import StoredTrajectories, explore_stored
from al_loop.stages.queue_job import StageJob
from al_loop.stages.queue_tasks import FOLDER, ExploreTask, TaskFile, start_as_dict, step_folder
from al_loop.structures.start import Start
from al_loop.utils.progress import Advance, show_nothing
from committee.checkpoint import DESCRIPTION, check_content, content_hash, save
from committee.errors import CheckpointError
from committee.potential import CommitteePotential


def explore_anywhere(
    config: Config,
    folder: Path,
    potential: CommitteePotential,
    starts: Sequence[Start],
    settings: ExploreSettings,
    advance: Advance = show_nothing,
) -> StoredTrajectories:
    """Run trajectories as ``explore_stored`` does, in one job of a queue if ``explore.queue`` is set.

    Args:
        config: the campaign, with an absolute folder.
        folder: of the trajectories.
        potential: the served model.
        starts: of the trajectories.
        settings: those of the config, possibly with another number of steps.
        advance: called with the number of steps done.

    Raises:
        CampaignError: the queue lost every job, or the exploration failed there.
    """
    if config.explore.queue is None:
        return explore_stored(folder, potential, starts, settings, config.physics, advance)
    task = ExploreTask(
        threads=config.explore.queue.cores or config.threads,
        foundation=config.foundation,
        model=_kept(potential, config.folder),
        trajectories=folder,
        starts=[start_as_dict(start) for start in starts],
        settings=settings,
        physics=config.physics,
    )
    place = step_folder(config.folder, "explore", TaskFile(task=task).model_dump_json())
    name = f"explore-{config.name}-{folder.parent.name}-{folder.name}"
    StageJob(place, name, config.explore.queue, task.threads).wait(advance)
    # Reads the trajectories; if a file was lost since, its steps are repeated in this process.
    return explore_stored(folder, potential, starts, settings, config.physics)


def _kept(potential: CommitteePotential, campaign_folder: Path) -> Path:
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
