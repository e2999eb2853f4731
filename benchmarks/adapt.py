"""Adaptation of a foundation's own weights, and heads on the adapted foundation, against heads alone.

    python benchmarks/adapt.py [--only nacl|hot|distilled|3bpa|lif|mgo] [--seeds N] [--quick]

nacl: 48 labels from three temperatures; hot: 40 labels of 3000 K; distilled: as nacl, on the small fairchem model;
3bpa: 50 labels of 300 K that others published (benchmarks/field.py says where); lif, mgo: 36 labels of LiF to 3000 K,
and of a slab of MgO to 2500 K, against plain training of all weights too. Errors are on trajectories without a training
frame. Harm is the force error after adaptation over the foundation's on structures far from the labels, which 7net-l3i5
labels too; the far structures are those of NaCl's rows only.
``--quick``: four labels of NaCl's smallest set, one Jacobian: it shows that the script runs.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import field
import numpy as np
from ase import Atoms
from ase.build import bulk
from figures import at_least, at_most
from learned import Outcome, backbone_of, fit, outcome
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from signals import POSITIVE_SHARES
from sklearn.metrics import roc_auc_score
from systems import CACHE, SYSTEMS, TEACHER, Frame, Results, load_frames, sevennet, split
from telling import counting, making

from committee import AdaptSettings, CommitteePotential, TrainingSettings, adapt
from committee.adaptation.adapt import VERSION
from committee.backbones.contract import Backbone, OpenBackbone
from committee.training.train import training_hash
from committee.uncertainty.score import atomic_uncertainty, mean_of_largest

PUBLISHED = "DFT, published by others"
TARGETS = {"nacl": 4.0, "hot": 3.0, "distilled": 2.5, "3bpa": 1.0, "lif": 1.0, "mgo": 1.0}
PLAIN = AdaptSettings(optimizer="adam", epochs=30, replay_weight=0.0)  # fine-tuning as it is usually done
AGAINST_PLAIN = 0.9  # of the model's error over the better of heads and plain training
NACL = ("nacl", "hot", "distilled")  # the far structures are far from these
RANKED = 90  # held-out frames whose uncertainty is evaluated on the adapted foundation


@dataclass(frozen=True)
class Row:
    """A foundation, and per seed the frames to fit and those held out.

    ``plain``: all weights are trained without replay too.
    """

    system: str
    parts: Callable[[int], tuple[list[Frame], list[Frame]]]
    plain: bool = False


def _nacl(seed: int) -> tuple[list[Frame], list[Frame]]:
    parts = split(load_frames(SYSTEMS["nacl"]), 16, seed)
    return parts.train, parts.held_out


def _hot(seed: int) -> tuple[list[Frame], list[Frame]]:
    parts = split(load_frames(SYSTEMS["nacl"], [3000]), 40, seed)
    return parts.train, parts.held_out


def _ionic(name: str) -> Callable[[int], tuple[list[Frame], list[Frame]]]:
    def parts(seed: int) -> tuple[list[Frame], list[Frame]]:
        found = split(load_frames(SYSTEMS[name]), 18, seed)
        return found.train, found.held_out

    return parts


def _quick(seed: int) -> tuple[list[Frame], list[Frame]]:
    train, held_out = _nacl(seed)
    return train[::12], held_out[::20]


def _molecule(seed: int) -> tuple[list[Frame], list[Frame]]:
    where = field.folder()
    assert where is not None, field.MISSING
    train, held_out = field.draw(field.molecule(where, field.HOME_K, 210), seed, 50)
    hot = [frame for temperature in field.MIXED for frame in field.molecule(where, temperature, 60)]
    return train, [*held_out[:60], *hot]


ROWS = {
    "nacl": Row("nacl", _nacl),
    "hot": Row("nacl", _hot),
    "distilled": Row("distilled", _nacl),
    "3bpa": Row("ethanol", _molecule),
    "lif": Row("lif", _ionic("lif"), plain=True),
    "mgo": Row("mgo", _ionic("mgo"), plain=True),
}


def adapted(
    backbone: OpenBackbone,
    frames: Sequence[Frame],
    settings: AdaptSettings,
    seed: int,
    training: TrainingSettings | None = None,
) -> OpenBackbone:
    """Adapt, by default with the default losses; the changed weights of an identical adaptation are cached."""
    labelled = [frame.training for frame in frames]
    losses = [] if training is None else [repr(training)]
    key = "/".join([str(VERSION), training_hash(labelled), backbone.fingerprint, repr(settings), str(seed), *losses])
    path = CACHE / "adapted" / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
    if path.is_file():
        return backbone.with_weights(load_file(path))
    making(f"the adaptation to {len(labelled)} labels, seed {seed}")
    started = time.process_time()
    found = adapt(backbone, labelled, settings, training=training, seed=seed, progress=counting("steps"))
    print(f"# processor time of the adaptation: {time.process_time() - started:.0f} s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(found.changed_weights), path)
    return found


def mae(backbone: Backbone, frames: Sequence[Frame]) -> dict[int, float]:
    """Force MAE of a foundation in eV/Å by temperature, and 0 for all frames."""
    errors = [np.abs(_forces(backbone, frame.training.atoms) - frame.forces) for frame in frames]
    temperatures = sorted({frame.temperature_K for frame in frames})
    by = {t: [e for e, frame in zip(errors, frames, strict=True) if frame.temperature_K == t] for t in temperatures}
    return {0: _mean(errors), **{t: _mean(chosen) for t, chosen in by.items()}}


def ranking(found: Outcome) -> np.ndarray:
    """Spearman of uncertainty and largest error of each frame, then AUROC at tolerances met by most frames."""
    pairs = zip(found.sigmas, found.distances, strict=True)
    signal = np.array([mean_of_largest(atomic_uncertainty(sigma, distance)) for sigma, distance in pairs])
    worst = found.worst
    areas = [roc_auc_score(worst > np.quantile(worst, 1 - share), signal) for share in POSITIVE_SHARES]
    return np.array([spearmanr(worst, signal).statistic, *areas])


def far_structures() -> dict[str, list[Atoms]]:
    """Return structures far from NaCl at 5.7 Å: other compounds and phases of the same elements, dimers, others."""
    rng = np.random.default_rng(0)
    groups = {
        "same elements": [
            bulk("Na", cubic=True),
            bulk("NaCl", "cesiumchloride", a=3.45, cubic=True),
            bulk("NaCl", "zincblende", a=6.3, cubic=True),
            bulk("NaCl", "rocksalt", a=5.0, cubic=True),
            bulk("NaCl", "rocksalt", a=6.5, cubic=True),
            bulk("Cl", "fcc", a=5.5, cubic=True),
        ],
        "other compounds": [
            bulk("KCl", "rocksalt", a=6.3, cubic=True),
            bulk("LiF", "rocksalt", a=4.05, cubic=True),
            bulk("NaF", "rocksalt", a=4.65, cubic=True),
            bulk("MgO", "rocksalt", a=4.25, cubic=True),
            bulk("Si", cubic=True),
            bulk("Cu", cubic=True),
        ],
        "dimers": [
            Atoms(pair, [[0, 0, 0], [0, 0, d]])
            for pair, lengths in (("NaCl", (2.0, 2.4, 3.0, 4.0)), ("Na2", (2.6, 3.1, 4.0)), ("Cl2", (1.8, 2.0, 2.6)))
            for d in lengths
        ],
    }
    for name, frames in groups.items():
        for atoms in frames if name != "dimers" else []:
            atoms.positions += rng.normal(scale=0.12, size=atoms.positions.shape)
    return groups


def harm(foundation: OpenBackbone, changed: OpenBackbone, labels: Callable[[Atoms], Results]) -> dict[str, float]:
    """Force error after adaptation over the foundation's, for each group of far structures."""
    ratios = {}
    for name, frames in far_structures().items():
        known = [atoms for atoms in frames if set(atoms.numbers) <= foundation.elements]
        truth = [labels(atoms)[1] for atoms in known]
        before, after = (
            _mean([np.abs(_forces(b, atoms) - true) for atoms, true in zip(known, truth, strict=True)])
            for b in (foundation, changed)
        )
        ratios[name] = after / before
    return ratios


def measure(name: str, seeds: int, settings: AdaptSettings, training: TrainingSettings, *, quick: bool) -> None:
    """Print every seed, then the figures."""
    row = ROWS[name]
    foundation = backbone_of(SYSTEMS[row.system])
    assert isinstance(foundation, OpenBackbone)
    labels, made_by = sevennet(TEACHER), PUBLISHED if name == "3bpa" else TEACHER.model
    of_nacl = name in NACL
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        train, held_out = (_quick if quick else row.parts)(seed)
        changed = adapted(foundation, train, settings, seed)
        before, after = mae(foundation, held_out), mae(changed, held_out)
        print(
            f"{name} seed {seed}: {len(train)} labels by {made_by}, force MAE by temperature (0: all) "
            f"foundation {_rounded(before)}, adapted {_rounded(after)}, {before[0] / after[0]:.2f} times",
            flush=True,
        )
        ratios = harm(foundation, changed, labels) if of_nacl else {}
        print("  force error over the foundation's far away", _rounded(ratios), flush=True)
        heads, on_top = _with_heads(foundation, changed, train, held_out, seed, training, cached=of_nacl)
        print(
            f"  on {len(heads.errors)} frames: foundation {heads.foundation_mae:.4f}, heads {heads.mae:.4f}, heads on "
            f"the adapted {on_top.mae:.4f}; Spearman and AUROC (10, 30, 50 % positive) of heads "
            f"{np.round(ranking(heads), 3)}, of heads on the adapted {np.round(ranking(on_top), 3)}",
            flush=True,
        )
        found.setdefault("adapted", []).append(before[0] / after[0])
        found.setdefault("heads", []).append(heads.foundation_mae / heads.mae)
        found.setdefault("both", []).append(heads.foundation_mae / on_top.mae)
        found.setdefault("rank", []).append(float((ranking(on_top) - ranking(heads)).min()))
        if row.plain:
            plain = mae(adapted(foundation, train, PLAIN, seed), _ranked(held_out, seed))
            print(f"  plain training of all weights on the same frames {_rounded(plain)}", flush=True)
            found.setdefault("plain", []).append(on_top.mae / min(heads.mae, plain[0]))
        for group, ratio in ratios.items():
            found.setdefault(f"force error over the foundation's, {group}", []).append(ratio)
    say = f"{name}, {len(train)} labels by {made_by}: foundation over model,"
    at_least(f"{say} adapted", float(np.median(found.pop("adapted"))), TARGETS[name])
    at_least(f"{say} heads alone", float(np.median(found.pop("heads"))), TARGETS[name])
    at_least(f"{say} heads on the adapted", float(np.median(found.pop("both"))), TARGETS[name])
    at_least(f"{name}: Spearman and AUROC against heads alone, worst", float(np.median(found.pop("rank"))), 0.0)
    if row.plain:
        value = float(np.median(found.pop("plain")))
        at_most(f"{name}: heads on the adapted over the better of heads and plain training", value, AGAINST_PLAIN)
    for group, ratios in found.items():
        at_most(f"{name}: {group}", float(np.median(ratios)), 1.05)


def _with_heads(
    foundation: OpenBackbone,
    changed: OpenBackbone,
    train: Sequence[Frame],
    held_out: Sequence[Frame],
    seed: int,
    training: TrainingSettings,
    *,
    cached: bool,
) -> tuple[Outcome, Outcome]:
    """Return the outcome of heads on either, on the same frames; ``cached``: their tangents are in the cache."""
    chosen = _ranked(held_out, seed)
    heads = fit(foundation, train, seed, training=training)
    known = outcome(heads, chosen) if cached else field.predicted(heads, chosen)
    top: CommitteePotential = fit(changed, train, seed, training=training)
    return known, field.predicted(top, chosen)


def _ranked(held_out: Sequence[Frame], seed: int) -> list[Frame]:
    return [held_out[i] for i in np.random.default_rng(seed).permutation(len(held_out))[:RANKED]]


def _forces(backbone: Backbone, atoms: Atoms) -> np.ndarray:
    return backbone.evaluate([atoms]).foundation()[0].cpu().numpy().astype(float)


def _mean(errors: Sequence[np.ndarray]) -> float:
    return float(np.concatenate([error.ravel() for error in errors]).mean())


def _rounded(values: dict) -> dict:
    return {key: round(value, 4) for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=ROWS, action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="four labels, one Jacobian: shows that it runs")
    arguments = parser.parse_args()
    quick = arguments.quick
    settings = AdaptSettings(iterations=1, replay_share=0.2) if quick else AdaptSettings()
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    present = [name for name in ROWS if name != "3bpa" or field.folder() is not None]
    for name in arguments.only or (["nacl"] if quick else present):
        measure(name, 1 if quick else arguments.seeds, settings, training, quick=quick)


if __name__ == "__main__":
    main()
