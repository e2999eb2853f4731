"""What a script is making for the cache, so that a first run of several minutes is not silent."""

import time
from collections.abc import Callable

SECONDS = 10.0  # between two lines about the same work


def making(what: str) -> None:
    """Say what is not in the cache and is made now."""
    print(f"# not in benchmarks/.cache yet, making {what}", flush=True)


def counting(what: str) -> Callable[[int, int], None]:
    """Return a function of (done, in all) that says how far the work is, at most every 10 seconds."""
    said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            print(f"# {what}: {done} of {total}", flush=True)

    return tell
