"""A device whose memory does not suffice, as an error that says what to change."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from ase import Atoms

from committee.errors import DeviceMemoryError


@contextmanager
def enough_memory_for(frames: Sequence[Atoms]) -> Iterator[None]:
    """Raise ``DeviceMemoryError`` with the size of a batch of frames where evaluating it needs too much memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(len(frames), sum(map(len, frames))) from error
