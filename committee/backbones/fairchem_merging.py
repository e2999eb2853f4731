"""Merging of a fairchem model's experts for a constant composition, charge and spin."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from committee.backbones.fairchem_checkpoint import random_state_kept
from committee.backbones.fairchem_execution import set_execution_mode

_Mixture = tuple[tuple[int, ...], int, int]


class MergedExperts:
    """A mixture-of-experts model and its merged form for the latest composition, charge and spin."""

    def __init__(self, mixed: nn.Module, inference_settings: Any, dtype: torch.dtype, mode: str) -> None:
        self._mixed = mixed
        self._settings = replace(inference_settings, merge_mole=True)
        self._dtype = dtype
        self._mode = mode
        self._mixture: _Mixture | None = None
        self._merged: nn.Module | None = None

    def model_for(self, batch: Any, make_first: Callable[[], Any]) -> nn.Module:
        """Return the merged model if all frames mix the experts in the same way, else the mixture itself.

        ``make_first`` returns fairchem's batch of the first frame alone; it is called only if the experts are merged.
        """
        mixture = _common_mixture(batch)
        if mixture is None:
            return self._mixed
        if self._merged is None or mixture != self._mixture:
            self._merged, self._mixture = self._merge(make_first()), mixture
        return self._merged

    def _merge(self, first: Any) -> nn.Module:
        merged = deepcopy(self._mixed)
        prepare: Any = merged.prepare_for_inference
        with torch.no_grad(), random_state_kept(), _default_dtype(self._dtype):
            prepare(first, self._settings)
            set_execution_mode(merged, self._mode)
        merged.requires_grad_(False)
        regress: Any = merged.get_submodule("backbone").regress_config
        regress.forces = regress.stress = regress.hessian = False
        return merged.to(self._dtype)


def is_mixture(escn: Any) -> bool:
    """Whether a backbone mixes experts."""
    return getattr(escn, "num_experts", 0) > 0


def _common_mixture(batch: Any) -> _Mixture | None:
    """Return composition, charge and spin of all frames, None if they differ.

    Compositions are compared rather than element ratios: one generation of UMA mixes by the number of atoms too.
    """
    compositions = {tuple(sorted(numbers.tolist())) for numbers in batch.atomic_numbers.split(batch.natoms.tolist())}
    states = {(int(charge), int(spin)) for charge, spin in zip(batch.charge, batch.spin, strict=True)}
    if len(compositions) != 1 or len(states) != 1:
        return None
    return (compositions.pop(), *states.pop())


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set the default precision, which tables that a model computes at construction use."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
