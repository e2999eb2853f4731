"""``python -m benchmarks.distill [--output DIR] [--quick] [--seed N]``."""

import argparse
import logging
import sys
from pathlib import Path

from benchmarks.distill import FULL, QUICK, distill

_LOG = logging.getLogger("benchmarks.distill")


def main() -> None:
    """Distil with logging to standard error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distill", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("distilled"), help="folder of checkpoint and recipe")
    parser.add_argument("--quick", action="store_true", help="a small run of two minutes, to see that it works")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that label and train")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    _LOG.setLevel(logging.INFO)
    command = " ".join(["python -m benchmarks.distill", *sys.argv[1:]])
    settings = QUICK if arguments.quick else FULL
    path = distill(settings, arguments.output, seed=arguments.seed, workers=arguments.workers, command=command)
    _LOG.info("wrote %s", path)


if __name__ == "__main__":
    main()
