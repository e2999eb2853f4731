"""The execution mode of a fairchem model that serves: fairchem's GPU kernels where they apply, else the general mode.

The kernels have one derivative, with respect to positions and strain: forces, the screen's probe and every member's
forces need no more. Tangents need a second one and always use the general mode. fairchem's third mode, block-diagonal
matrix products in plain PyTorch, was slower than the general one on a CPU (0.163 against 0.140 s for 64 atoms).
"""

from dataclasses import replace
from typing import Any, Final

import torch
from torch import nn

GENERAL: Final = "general"
FAST: Final = "umas_fast_gpu"


def serving_mode(unit: Any, *, one_mixture: bool) -> str:
    """Return the execution mode in which a model may serve.

    Args:
        unit: fairchem's predict unit.
        one_mixture: whether the model has no experts, or they are merged.
    """
    from fairchem.core.models.uma.nn.execution_backends import UMASFastGPUBackend

    escn, settings = unit.model.module.backbone, replace(unit.inference_settings, merge_mole=one_mixture)
    on_gpu = torch.device(unit.device).type == "cuda" and settings.base_precision_dtype == torch.float32
    if not on_gpu:
        return GENERAL
    try:
        UMASFastGPUBackend.validate(escn.lmax, escn.mmax, settings)
    except ValueError:
        return GENERAL
    return FAST


def set_execution_mode(model: nn.Module, mode: str) -> None:
    """Convert a model in the general mode, whose experts are merged if it has any, to another mode in place."""
    from fairchem.core.models.uma.nn.execution_backends import get_execution_backend

    if mode == GENERAL:
        return
    execution = get_execution_backend(mode)
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = execution  # type: ignore[assignment]
    execution.prepare_model_for_inference(model.get_submodule("backbone"))
