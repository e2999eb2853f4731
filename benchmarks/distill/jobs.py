"""Independent jobs on several processes, one thread each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Result = TypeVar("Result")


def run_jobs(jobs: Sequence[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """Yield every result in order; 1 worker runs the jobs in this process."""
    if workers == 1:
        yield from map(_run, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run, jobs)


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: sums over several have a random order and are not bitwise reproducible."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _run(job: Callable[[], Result]) -> Result:
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(0)
        return job()
