"""Ways to change a foundation's weights, on the small fairchem model: all weights, last blocks, low rank, and the pull.

    python benchmarks/adapt_methods.py [--seeds N] [--quick]

48 labels of NaCl at three temperatures by 7net-l3i5, as in benchmarks/adapt.py: the force error of the foundation over
that of the adapted model on trajectories without a training frame, and the force error over the foundation's on
structures far from the labels. ``--quick``: four labels, one Jacobian or one epoch.
"""

import argparse
from collections.abc import Mapping

import numpy as np
from adapt import ROWS, adapted, harm, mae
from figures import at_least, at_most
from learned import backbone_of
from systems import SYSTEMS, TEACHER, sevennet

from committee import AdaptSettings
from committee.backbones.contract import OpenBackbone

EPOCHS = 60
TARGET = 2.5
FAR = 1.05  # force error over the foundation's, far from the labels


def ways(epochs: int) -> dict[str, AdaptSettings]:
    """Return the settings to compare, by name."""
    adam = AdaptSettings(optimizer="adam", epochs=epochs)
    return {
        "all weights, default": AdaptSettings(),
        "last block, default": AdaptSettings(method="last_blocks", last_blocks=1),
        "low rank 8, Adam 1e-2": adam.model_copy(update={"method": "low_rank", "learning_rate": 1e-2}),
        "all weights, Adam 1e-3": adam,
        "all weights, Adam 1e-3, pull 3": adam.model_copy(update={"pull_to_foundation": 3.0}),
        "all weights, Adam 1e-3, pull 30": adam.model_copy(update={"pull_to_foundation": 30.0}),
    }


def _rounded(values: Mapping[int, float] | Mapping[str, float]) -> dict[int | str, float]:
    return {key: round(value, 4) for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="four labels, few steps: shows that it runs")
    arguments = parser.parse_args()
    foundation, labels = backbone_of(SYSTEMS["distilled"]), sevennet(TEACHER)
    assert isinstance(foundation, OpenBackbone)
    short = {"iterations": 1, "replay_share": 0.2} if arguments.quick else {}
    for name, way in ways(1 if arguments.quick else EPOCHS).items():
        settings, gains, far = way.model_copy(update=short), [], []
        for seed in range(1 if arguments.quick else arguments.seeds):
            train, held_out = ROWS["distilled"].parts(seed)
            if arguments.quick:
                train, held_out = train[::12], held_out[::20]
            changed = adapted(foundation, train, settings, seed)
            before, after, ratios = mae(foundation, held_out), mae(changed, held_out), harm(foundation, changed, labels)
            print(
                f"{name}, seed {seed}: force MAE in eV/Å {_rounded(before)} before, {_rounded(after)} after; over the "
                f"foundation's far away {_rounded(ratios)}",
                flush=True,
            )
            gains.append(before[0] / after[0])
            far.append(max(ratios.values()))
        at_least(f"{name}: foundation over adapted model", float(np.median(gains)), TARGET)
        at_most(f"{name}: force error over the foundation's, worst group far away", float(np.median(far)), FAR)


if __name__ == "__main__":
    main()
