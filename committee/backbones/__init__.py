"""Adapters from foundation models to the ``Backbone`` contract, one file per library."""

from importlib import import_module

import torch

from committee.backbones.contract import Backbone
from committee.errors import FoundationError
from committee.settings import CalculatorSettings, FoundationSettings

__all__ = ["load_backbone"]

_LOADERS = {
    "sevennet": "load_sevennet",
    "fairchem": "load_fairchem",
}
"""By ``kind``, which also names the module: loaders of open weights, called with the settings and the precision."""


def load_backbone(settings: FoundationSettings, dtype: torch.dtype = torch.float32) -> Backbone:
    """Load a frozen foundation model.

    Args:
        settings: which foundation, which weights, which task or fidelity, where it runs.
        dtype: floating-point type of the evaluation; float64 for finite differences.

    Raises:
        FoundationError: its library is not installed, its name or weights cannot be found or read, or the machine
            lacks the device.
    """
    if isinstance(settings, CalculatorSettings):
        from committee.backbones.calculator import load_calculator

        return load_calculator(settings, load_backbone(settings.features, dtype))
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise FoundationError(
            f"foundation.device: received cuda, but torch {torch.__version__} finds no CUDA device here; "
            "set device: cpu, or install a CUDA build of torch on a machine with a GPU and its driver"
        )
    module = import_module(f"committee.backbones.{settings.kind}")  # imports the foundation's library
    backbone: Backbone = getattr(module, _LOADERS[settings.kind])(settings, dtype)
    return backbone
