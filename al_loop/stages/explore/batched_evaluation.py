"""Predict one step's frames in batches that suit the processor: small enough for its cache, one per core."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import torch
from ase import Atoms

from committee.errors import frames_counted_from
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction, split_by_atoms

BATCH_ATOMS = 32
"""For a foundation that several threads may evaluate. SevenNet-0 took 0.75 s for 175 atoms in batches of 40 atoms on
one core, 1.0 s in one batch and 0.88 s frame by frame; two cores were fastest with 30."""
LARGEST_BATCH_ATOMS = 256
"""For a foundation that only one thread may evaluate."""
FEWEST_ROWS = 4
"""Smaller matrices, with one row for each atom, are multiplied by another routine, with other last bits."""


class Batches:
    """Predicts the frames of each step.

    Where several threads may evaluate the foundation at once (``concurrent``), each takes whole batches with one torch
    thread, since operations on small cells have too little work to share. A single batch uses torch's own threads. As
    many threads are used as torch is set to.
    """

    def __init__(self, potential: CommitteePotential) -> None:
        self._potential = potential
        self._concurrent = bool(getattr(potential.backbone, "concurrent", False))
        self._threads = torch.get_num_threads() if self._concurrent else 1
        self._pool: ThreadPoolExecutor | None = None

    def predict(self, frames: Sequence[Atoms], uncertainty: Uncertainty) -> list[Prediction]:
        """Predict frames in their order.

        Raises:
            RefusedFrameError: of the first frame without a prediction, whose index is ``frame_index``.
        """
        batches = list(self._split(frames))
        if self._threads == 1 or len(batches) == 1:
            return [one for start, batch in batches for one in self._predict(start, batch, uncertainty)]
        futures = [self._workers().submit(self._predict, start, batch, uncertainty) for start, batch in batches]
        wait(futures)
        return [one for future in futures for one in future.result()]

    def _split(self, frames: Sequence[Atoms]) -> Iterator[tuple[int, list[Atoms]]]:
        """Batches with the index of their first frame; as many as threads if there are enough frames."""
        atoms = sum(map(len, frames))
        limit = min(BATCH_ATOMS, -(-atoms // self._threads)) if self._concurrent else LARGEST_BATCH_ATOMS
        start = 0
        for batch in split_by_atoms(frames, limit):
            yield start, batch
            start += len(batch)

    def _predict(self, start: int, batch: list[Atoms], uncertainty: Uncertainty) -> list[Prediction]:
        filled = batch + [batch[-1]] * max(0, FEWEST_ROWS - sum(map(len, batch)))
        with frames_counted_from(start):
            predictions = self._potential.predict(filled, uncertainty, batch_atoms=max(sum(map(len, filled)), 1))
        return predictions[: len(batch)]

    def _workers(self) -> ThreadPoolExecutor:
        """Threads with one torch thread each; the setting of all other threads stays as it was."""
        if self._pool is None:
            before = torch.get_num_threads()
            self._pool = ThreadPoolExecutor(self._threads, initializer=_use_one_thread)
            started = Barrier(self._threads + 1)
            for _ in range(self._threads):
                self._pool.submit(started.wait)
            started.wait()
            torch.set_num_threads(before)
        return self._pool


def _use_one_thread() -> None:
    torch.get_num_threads()  # the first call copies the number of the process; only then a number of this thread stays
    torch.set_num_threads(1)
