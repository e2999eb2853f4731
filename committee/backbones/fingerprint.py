"""One identity for a foundation's answer, the same in every process and on every machine."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


def fingerprint_weights(weights: Iterable[tuple[str, Tensor]], settings: Mapping[str, Any]) -> str:
    """SHA-256 over weights in float32, and over what else changes the answer.

    Args:
        weights: names and tensors.
        settings: task, fidelity and the like; anything JSON can say.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        stored = tensor.detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(stored.shape)}".encode())
        digest.update(stored.numpy().tobytes())
    return digest.hexdigest()
