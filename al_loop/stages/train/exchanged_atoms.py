"""Find single labels whose forces are assigned to the wrong atoms."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from al_loop.stages.train.compared_labels import SIGNIFICANT_FORCE, ComparedLabel
from committee.checks.force_check import UNLIKE
from committee.checks.force_order import FEWEST_ATOMS, Pair, common_order, fits_in_some_order, named_order
from committee.checks.unit_mismatch import AGREEMENT, MIN_FRAMES, cosine

Array = NDArray[np.float64]

MAX_LEFT = 1 / 3  # largest remaining deviation from a cosine of 1, relative to that before the reordering


def exchanged_atoms(compared: Sequence[ComparedLabel], unlike: Mapping[int, tuple[Array, Array]]) -> dict[int, str]:
    """Return the indices of the labels that agree with the model in another order of atoms, each with a description.

    Args:
        compared: all labels.
        unlike: index -> forces of label and model, (n, 3) each, of those that do not agree as they are.
    """
    pairs: dict[int, Pair] = {place: (compared[place].atoms.numbers, *both) for place, both in unlike.items()}
    found: dict[int, str] = {}
    kinds: dict[bytes, list[int]] = {}
    for place, (numbers, label, model) in pairs.items():
        if cosine(label, model) >= AGREEMENT:
            continue
        kinds.setdefault(np.asarray(numbers, dtype=np.int64).tobytes(), []).append(place)
    for places in kinds.values():
        order = _shared_order([pairs[place] for place in places]) if len(places) >= MIN_FRAMES else ""
        alone = [] if order else [i for i in places if _is_unlike(pairs[i]) and fits_in_some_order([pairs[i]])]
        found |= dict.fromkeys(places, order) if order else {i: _named([pairs[i]]) or "" for i in alone}
    return {place: f"the forces belong to other atoms{order and f': {order}'}" for place, order in found.items()}


def _shared_order(frames: Sequence[Pair]) -> str:
    """Description of one order that makes several frames agree; empty if there is none."""
    given = float(np.median([cosine(label, model) for _, label, model in frames]))
    for find in (named_order, common_order):
        order = find(frames)
        if order is not None and order.agreement >= AGREEMENT and 1 - order.agreement < MAX_LEFT * (1 - given):
            return order.description
    return ""


def _named(frames: Sequence[Pair]) -> str:
    order = named_order(frames)
    return order.description if order is not None and order.agreement >= AGREEMENT else ""


def _is_unlike(frame: Pair) -> bool:
    """Whether directions disagree on most atoms, not only on a few with by far the largest forces."""
    _, label, model = frame
    sizes = np.linalg.norm(model, axis=1)
    significant = sizes > SIGNIFICANT_FORCE * np.sqrt(np.mean(sizes**2))
    unlike = np.linalg.norm(label - model, axis=1)[significant] > UNLIKE * sizes[significant]
    return bool(len(unlike) >= FEWEST_ATOMS and unlike.mean() > UNLIKE) and cosine(label, model) < UNLIKE
