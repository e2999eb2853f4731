"""Rankings and paths as extended XYZ, under the usual keys."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from al_loop.files.labels.names import LabelKeys
from al_loop.files.predictions import StatedFrame
from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.dft_relax import Labelled
from al_loop.tools.ranking.ranking_results import Ranking
from al_loop.utils.paths import writing
from committee.prediction import Prediction
from dft_interfaces.files.atomic_write import write_whole

_logger = logging.getLogger("al_loop")
KEYS = LabelKeys()
RANK_KEYS = (
    "candidate",
    "composition",
    "status",
    "verdict",
    "rank",
    "above_best_eV",
    "uncertainty_eV",
    "probability_top",
    "sent",
    "reason",
    "dft_rank",
    "dft_above_best_eV",
)
IMAGE_KEYS = ("image", "path_A", "above_initial_eV", "uncertainty_eV", "verdict", "sent", "reason")


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write every candidate, as it was ranked, in the order of the ranking.

    ``energy`` and ``forces`` are the committee's, with ``energy_uncertainty``, ``forces_uncertainty`` and
    ``latent_distance`` beside them; labels stand under ``REF_energy``, ``REF_forces`` and ``REF_stress``. Steps of a
    relaxation with DFT follow their candidate, with labels alone.
    """
    frames = []
    for one in ranking.candidates:
        values = one.as_dict()
        info = {key: values[key] for key in RANK_KEYS}
        labels = list(one.labels)
        frames.append(_frame(one.atoms, info, one.gated.prediction, labels.pop(0) if labels else None))
        for step, labelled in enumerate(labels, start=1):
            frames.append(_frame(labelled.atoms, {"candidate": one.candidate, "dft_step": step}, None, labelled))
    _write(path, frames)


def write_path(path: Path, barrier: Barrier) -> None:
    """Write the images of a path from end to end; names as in ``write_ranking``."""
    frames = []
    for image in barrier.images:
        values = image.as_dict()
        info = {key: values[key] for key in IMAGE_KEYS} | {"saddle": image.image == barrier.saddle}
        frames.append(_frame(image.atoms, info, image.gated.prediction, image.labelled))
    _write(path, frames)


def _frame(
    atoms: Atoms, info: Mapping[str, Any], prediction: Prediction | None, labelled: Labelled | None
) -> StatedFrame:
    frame = StatedFrame(atoms, {key: value for key, value in info.items() if value is not None and value != ""})
    if prediction is not None:
        frame.add_prediction(prediction)
    if labelled is not None and labelled.energy_eV is not None:
        label = labelled.label
        frame.info[KEYS.energy] = labelled.energy_eV
        frame.arrays[KEYS.forces] = np.asarray(label.forces_eV_per_A)
        if label.stress_eV_per_A3 is not None:
            frame.info[KEYS.stress] = label.stress_eV_per_A3
    elif labelled is not None:
        frame.info["dft_status"] = labelled.label.status.value
    return frame


def _write(path: Path, frames: Sequence[StatedFrame]) -> None:
    texts = [frame.text() for frame in frames]
    left_out = sorted({name for _, names in texts for name in names})
    if left_out:
        _logger.warning("%s cannot hold %s of the structures; they are written without", path, ", ".join(left_out))
    with writing("--output", path):
        write_whole(path, "".join(text for text, _ in texts))
