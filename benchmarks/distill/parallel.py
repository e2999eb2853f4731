"""Gradients of several shards of a batch at a time, one process and one thread for each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.distill.jobs import one_thread

Weights = NDArray[np.float32]
Shard = tuple[int, Sequence[int]]
"""Seed of the shard's random numbers, and its frames."""
Gradients = Callable[[Weights, Sequence[Shard]], tuple[Weights, float]]
"""Mean gradient and mean loss over shards, at these weights."""


class ShardGradient:
    """A separate model that returns gradients.

    Args:
        model: its weights are overwritten.
        loss: loss of the model over some frames.
    """

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Sequence[int]], Tensor]):
        self._model = model.train()
        self._parameters = trained(self._model)
        self._loss = loss

    def __call__(self, weights: Weights, shard: Shard) -> tuple[Weights, float]:
        """Return the gradient, flat, and the loss."""
        seed, frames = shard
        vector_to_parameters(torch.from_numpy(weights), self._parameters)
        for parameter in self._parameters:
            parameter.grad = None
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            loss = self._loss(self._model, frames)
            loss.backward()  # type: ignore[no-untyped-call]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        return parameters_to_vector(parts).numpy(), loss.item()


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are trained, in a fixed order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@contextmanager
def gradients(workers: int, make: Callable[[], ShardGradient]) -> Iterator[Gradients]:
    """Compute gradients with one thread per process; their number does not change the result.

    Args:
        workers: processes; 1 works in this one.
        make: makes the model and its loss, once in each process.
    """
    with one_thread():
        if workers == 1:
            local = make()
            yield lambda weights, shards: _mean([local(weights, shard) for shard in shards])
        else:
            with ProcessPoolExecutor(workers, get_context("spawn"), _start, (make,)) as pool:
                yield lambda weights, shards: _mean(list(pool.map(_gradient, [weights] * len(shards), shards)))


_state: dict[str, ShardGradient] = {}


def _start(make: Callable[[], ShardGradient]) -> None:
    torch.set_num_threads(1)
    _state["here"] = make()


def _gradient(weights: Weights, shard: Shard) -> tuple[Weights, float]:
    return _state["here"](weights, shard)


def _mean(results: list[tuple[Any, float]]) -> tuple[Weights, float]:
    return np.mean([result[0] for result in results], axis=0), float(np.mean([result[1] for result in results]))
