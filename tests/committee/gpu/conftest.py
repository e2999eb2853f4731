"""The tests of this folder need a CUDA device, and say so where there is none."""

from pathlib import Path

import pytest
import torch

DEVICE = "cuda"
DISTILLED = Path(__file__).parents[2] / "data" / "distilled" / "distilled.pt"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason, which the summary shows."""
    if torch.cuda.is_available():
        return
    reason = f"torch {torch.__version__} finds no CUDA device: nothing that computes was compared on one"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
