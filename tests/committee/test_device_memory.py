import pytest
import torch

from committee.errors import DeviceMemoryError
from committee.model.tangents import cached_tangents
from committee.potential import CommitteePotential


class Full:
    """A foundation on a device without memory."""

    def __init__(self, backbone):
        self._backbone = backbone

    def __getattr__(self, name):
        return getattr(self._backbone, name)

    def evaluate(self, frames):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_a_device_without_memory_is_one_readable_error(backbone, make_crystal, tmp_path):
    potential = CommitteePotential.untrained(Full(backbone))
    frames = [make_crystal(0), make_crystal(1)]
    attempts = (
        lambda: potential.predict(frames),
        lambda: potential.predict(frames, "exact"),
        lambda: cached_tangents(Full(backbone), [("a", frames[0]), ("b", frames[1])], tmp_path),
    )
    for attempt in attempts:
        with pytest.raises(DeviceMemoryError, match=r"16 atoms in 2 frame\(s\).*foundation.device: cpu") as raised:
            attempt()
        assert "\n" not in str(raised.value)
    with pytest.raises(DeviceMemoryError, match=r"8 atoms in 1 frame"):
        potential.hold(frames[0])
