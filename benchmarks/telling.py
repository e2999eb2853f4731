"""Progress messages while a script fills the cache, since a first run takes several minutes."""

import time
from collections.abc import Callable

SECONDS = 10.0  # between two lines of the same counter


def making(what: str) -> None:
    """Print what is missing in the cache and computed now."""
    print(f"# not in benchmarks/.cache yet, making {what}", flush=True)


def counting(what: str) -> Callable[[int, int], None]:
    """Return a function of (done, total) that prints the progress, at most every 10 seconds."""
    printed_s = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed_s
        if time.monotonic() - printed_s >= SECONDS:
            printed_s = time.monotonic()
            print(f"# {what}: {done} of {total}", flush=True)

    return report
