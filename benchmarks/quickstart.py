"""Measurement of the quickstart: reduction of the force error on held-out frames, and duration.

    python benchmarks/quickstart.py [--quick]

``--quick`` labels fewer frames, which shows that it runs, not what it reaches.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from al_loop import Campaign
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.progress import terminal_progress

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def quick(config):
    """Return the same campaign with smaller settings."""
    return config.model_copy(
        update={
            "rounds": 2,
            "explore": config.explore.model_copy(update={"steps": 40, "check_every": 5}),
            "hold_out": config.hold_out.model_copy(
                update={"test_frames": 4, "calibration_frames": 4, "never_trained": ()}
            ),
            "select": config.select.model_copy(update={"labels_per_round": 6}),
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    config = load_config(CONFIG)
    config = quick(config) if arguments.quick else config
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started = time.monotonic()
        campaign = Campaign(config.model_copy(update={"folder": Path(folder) / "run"}), terminal_progress())
        last = campaign.run()[-1]
        seconds = time.monotonic() - started
    ratio = last.held_out.force_mae_foundation / last.held_out.force_mae_served
    for name, value, target, holds in (
        ("held-out force MAE, foundation over served", ratio, ">= 5", ratio >= 5),
        ("quickstart wall time, s", seconds, "<= 600", seconds <= 600),
    ):
        print(json.dumps({"name": name, "value": round(value, 3), "target": target, "holds": holds}))


if __name__ == "__main__":
    main()
