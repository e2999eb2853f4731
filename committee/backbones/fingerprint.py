"""Fingerprint of a foundation's predictions, the same in every process and on every machine."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


def fingerprint_weights(weights: Iterable[tuple[str, Tensor]], settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of weights in float32 and of the settings that change the prediction.

    Args:
        weights: names and tensors.
        settings: task, fidelity and the like, JSON-serialisable.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        stored = tensor.detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(stored.shape)}".encode())
        digest.update(stored.numpy().tobytes())
    return digest.hexdigest()
