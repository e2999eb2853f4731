"""Whether trusted frames are within the tolerance where the conditions are not those of the calibration frames.

    python benchmarks/shift.py [--only 3bpa|oh|nacl|ethanol|distilled] [--seeds N] [--quick]

Labels and calibration frames come from the lowest temperature alone, test frames also from higher ones. ``3bpa`` and
``oh`` are DFT labels that others published (benchmarks/field.py says where); without them the script says so and
measures the rest. ``--quick`` calibrates on nine frames of the lower two temperatures of ethanol, as if each were a
trajectory of its own: it shows that the script runs.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import field
import numpy as np
from figures import at_least, report
from learned import Outcome, backbone_of, fit, outcome
from scipy.stats import beta, spearmanr
from sklearn.metrics import roc_auc_score
from systems import DISTILLED, SYSTEMS, System, load_frames, split

from committee.settings import TrainingSettings
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.score import atomic_uncertainty, mean_of_largest

Array = np.ndarray

SHARES = (0.5, 0.7, 0.9, 0.97)  # quantiles of the largest errors at home that serve as tolerances
CALIBRATING = (16, 40, 100)
DRAWS = 40  # of the calibration frames
LIMIT = 0.1
HOT_FRAMES = {600: 166, 1200: 60}  # of 3bpa: all at 600 K, where the few that are trusted must be counted
COUNTED = ("trusted", "exceeding", "within", "trusted and within", "frames")
ENERGY_ERROR_EV = 0.043
LABELLED_BY = {
    "3bpa": "DFT, published by others",
    "oh": "PBE, published by others",
    "nacl": "7net-l3i5, made here",
    "ethanol": "GFN2-xTB, made here",
    "distilled": "7net-l3i5, made here",
}


@dataclass(frozen=True)
class Seed:
    """One fit's frames outside training: those at home with their trajectories, and those of other conditions."""

    home: Outcome
    trajectories: Array
    away: dict[str, Outcome]


def molecule_seeds(where: Path, seeds: int) -> Iterator[Seed]:
    """3-(benzyloxy)pyridin-2-amine: 50 labels of 300 K, another draw for each seed."""
    backbone = backbone_of(SYSTEMS["ethanol"])
    home = field.molecule(where, field.HOME_K, 210)
    hot = {f"{t} K": field.molecule(where, t, count) for t, count in HOT_FRAMES.items()}
    for seed in range(seeds):
        train, others = field.draw(home, seed, 50)
        potential = fit(backbone, train, seed)
        away = {name: field.predicted(potential, frames) for name, frames in hot.items()}
        yield Seed(field.predicted(potential, others), np.arange(len(others)), away)


def system_seeds(system: System, seeds: int, *, quick: bool) -> Iterator[Seed]:
    """A system of benchmarks/systems.py: 32 labels of the lowest temperature, other trajectories for each seed."""
    backbone, frames = backbone_of(system), load_frames(system, quick=quick)
    temperatures = system.recipe.temperatures_K
    at_home = temperatures[:2] if quick else temperatures[:1]
    known = [frame for frame in frames if frame.temperature_K in at_home]
    training = TrainingSettings(epochs=40) if quick else TrainingSettings()
    for seed in range(1 if quick else seeds):
        parts = split(known, 3 if quick else 32, seed)
        potential = fit(backbone, parts.train, seed, training=training)
        away = {
            f"{t} K": outcome(potential, [frame for frame in frames if frame.temperature_K == t])
            for t in temperatures
            if t not in at_home
        }
        trajectories = np.array([i if quick else frame.trajectory for i, frame in enumerate(parts.held_out)])
        yield Seed(outcome(potential, parts.held_out), trajectories, away)


def measure(name: str, seeds: list[Seed], *, quick: bool) -> None:
    """Print the table of every condition, tolerance and number of calibration frames, then the figures."""
    counts: dict[tuple[int, str, float], Array] = {}
    best: dict[tuple[int, str, float], Array] = {}
    there: dict[tuple[str, float], Array] = {}
    covered = np.zeros(2)
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng(number)
        for frames in (9,) if quick else CALIBRATING:
            for _ in range(DRAWS):
                known, test = _drawn(seed, frames, rng)
                if len(known) < frames:  # a system has 80 frames at home outside its training trajectories
                    break
                _count(counts, seed, frames, known, test)
                _count(best, _seen_by_a_judge(seed), frames, known, test)
                covered += _coverage(seed.home, known, test)
        _count_calibrated_there(there, seed)
    _print_table(name, counts, best, there)
    _guarantee_figures(name, counts)
    _ranking_figures(name, seeds)
    marginal = covered[0] / covered[1]
    report(f"{name}: marginal coverage at 90 % at home", marginal, "0.87 to 0.93", holds=0.87 <= marginal <= 0.93)


def _drawn(seed: Seed, frames: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw calibration frames from half of the trajectories at home, from all if a frame is one of its own.

    Returns:
        Indices of the calibration frames, and of frames of other trajectories.
    """
    numbers = rng.permutation(np.unique(seed.trajectories))
    single = len(numbers) == len(seed.trajectories)
    mine = np.isin(seed.trajectories, numbers if single else numbers[: -(-len(numbers) // 2)])
    known = rng.permutation(np.flatnonzero(mine))[:frames]
    others = np.ones(len(mine), dtype=bool) if single else ~mine
    others[known] = False
    return known, np.flatnonzero(others)


def _count(counts: dict, seed: Seed, frames: int, known: Array, test: Array) -> None:
    for share, tolerance in zip(SHARES, np.quantile(seed.home.worst, SHARES), strict=True):
        calibration = _calibrated(seed.home.select(known), float(tolerance))
        for place, found in {"home": seed.home.select(test), **seed.away}.items():
            trusted, within = calibration.trusts(found.sigmas, found.distances), found.worst <= tolerance
            row = [trusted.sum(), (trusted & ~within).sum(), within.sum(), (trusted & within).sum(), len(within)]
            cell = (frames, place, share)
            counts[cell] = counts.get(cell, np.zeros(len(COUNTED))) + np.array(row) / DRAWS


def _count_calibrated_there(counts: dict, seed: Seed) -> None:
    """Count as above with a calibration on all frames of the condition itself: what this uncertainty can tell there."""
    for share, tolerance in zip(SHARES, np.quantile(seed.home.worst, SHARES), strict=True):
        for place, found in {"home": seed.home, **seed.away}.items():
            trusted = _calibrated(found, float(tolerance)).trusts(found.sigmas, found.distances)
            within = found.worst <= tolerance
            row = np.array([within.sum(), (trusted & within).sum()])
            counts[place, share] = counts.get((place, share), np.zeros(2)) + row


def _calibrated(found: Outcome, tolerance: float) -> Calibration:
    return Calibration.fit(found.errors, found.sigmas, found.distances, tolerance_eV_per_A=tolerance)


def _coverage(home: Outcome, known: Array, test: Array) -> Array:
    calibration = _calibrated(home.select(known), float(np.median(home.worst)))
    new = home.select(test)
    counted = calibration.coverage(new.errors, new.sigmas, new.distances)
    return np.array([counted.covered, counted.frames])


def _seen_by_a_judge(seed: Seed) -> Seed:
    """Replace each frame's spread by the root mean square of its true errors, and every distance by 1."""

    def known(found: Outcome) -> Outcome:
        sigmas = [np.full(len(e), np.sqrt(np.mean(e**2))) for e in found.errors]
        ones = [np.ones(len(e)) for e in found.errors]
        return Outcome(found.errors, sigmas, ones, found.components, found.foundation, found.temperatures_K)

    return Seed(known(seed.home), seed.trajectories, {place: known(found) for place, found in seed.away.items()})


def _print_table(name: str, counts: dict, best: dict, there: dict) -> None:
    print(f"{name}, labels {LABELLED_BY[name]}; tolerance at {SHARES} of the largest errors at home:")
    print("  exceeding/trusted frames (%), share of those within that are trusted (that of a judge of the true errors,")
    print("  that of a calibration on all frames of the condition itself)")
    for frames, place in dict.fromkeys((frames, place) for frames, place, _ in counts):
        cells = []
        for share in SHARES:
            trusted, exceeding, within, both, _ = counts[frames, place, share]
            known = best[frames, place, share]
            rate = f"{exceeding / trusted:.0%}" if trusted else "-"
            own = there[place, share]
            pairs = ((both, within), (known[3], known[2]), (own[1], own[0]))
            mine, judge, tuned = (f"{value / max(of, 1e-9):.0%}" for value, of in pairs)
            cells.append(f"{exceeding:.1f}/{trusted:.1f} ({rate}) {mine} ({judge}, {tuned})")
        print(f"  {frames:3d} frames, {place:7s}", "; ".join(cells))


def _guarantee_figures(name: str, counts: dict) -> None:
    """Exceeding among trusted: the cell in which more than a tenth is least compatible with chance."""
    most = max(frames for frames, _, _ in counts)
    for place in dict.fromkeys(place for _, place, _ in counts):
        mine = {key: values for key, values in counts.items() if key[1] == place and values[0] > 0}
        cells = [(_lower_bound(values), key, values) for key, values in mine.items()]
        bound, (frames, _, share), values = max(
            cells, key=lambda cell: cell[0], default=(0.0, (most, place, SHARES[0]), np.zeros(len(COUNTED)))
        )
        rate = values[1] / values[0] if values[0] else 0.0
        what = f"{frames} calibration frames, tolerance at {share:.0%}: {values[1]:.1f} of {values[0]:.1f}"
        report(f"{name}, {place}: exceeding among trusted, worst cell ({what})", rate, "<= 0.1", holds=bound <= LIMIT)
    away = next(place for _, place, _ in counts if place != "home")
    for place, target in (("home", 0.7), (away, 0.3)):
        for share in SHARES[2:]:
            values = counts[most, place, share]
            what = f"{name}, {place}: share trusted of frames within the tolerance at {share:.0%}"
            at_least(what, values[3] / values[2] if values[2] else float("nan"), target)


def _lower_bound(values: Array) -> float:
    """Return the 95 % lower bound of the rate, draws of one frame counted as one."""
    trusted, exceeding = values[:2]
    return float(beta.ppf(0.05, exceeding, trusted - exceeding + 1)) if exceeding else 0.0


def _ranking_figures(name: str, seeds: list[Seed]) -> None:
    ranks, drawn = [], []
    for number, seed in enumerate(seeds):
        ranks.append(_skill(seed, [seed.home.errors, next(iter(seed.away.values())).errors]))
        rng = np.random.default_rng(number)
        drawn.append(_skill(seed, [_errors_from_spread(f, rng) for f in (seed.home, next(iter(seed.away.values())))]))
    found, known = np.mean(ranks, axis=0), np.mean(drawn, axis=0)
    names = ["Spearman at home, atoms", "Spearman at home, frames"]
    names += [f"AUROC over home and the next temperature, tolerance at {share:.0%}" for share in SHARES[:3]]
    for what, value, ceiling, target in zip(names, found, known, (0.75, 0.7, 0.95, 0.95, 0.95), strict=True):
        at_least(f"{name}: {what} ({ceiling:.2f} if errors were drawn from the spread itself)", value, target)


def _skill(seed: Seed, errors: list[list[Array]]) -> Array:
    """Spearman of atoms and frames at home, then AUROC of 'exceeds' over home and the next condition."""
    places = (seed.home, next(iter(seed.away.values())))
    atoms = [[atomic_uncertainty(s, d) for s, d in zip(f.sigmas, f.distances, strict=True)] for f in places]
    frames = [np.array([mean_of_largest(values) for values in place]) for place in atoms]
    worst = [np.array([values.max() for values in place]) for place in errors]
    together, uncertain = np.concatenate(worst), np.concatenate(frames)
    areas = [_area(together > np.quantile(worst[0], share), uncertain) for share in SHARES[:3]]
    of_atoms = spearmanr(np.concatenate(atoms[0]), np.concatenate(errors[0])).statistic
    return np.array([of_atoms, spearmanr(frames[0], worst[0]).statistic, *areas])


def _area(positive: Array, signal: Array) -> float:
    return float(roc_auc_score(positive, signal)) if 0 < positive.sum() < len(positive) else float("nan")


def _errors_from_spread(found: Outcome, rng: np.random.Generator) -> list[Array]:
    pairs = zip(found.sigmas, found.distances, strict=True)
    return [atomic_uncertainty(s, d) * np.linalg.norm(rng.normal(size=(len(s), 3)), axis=1) for s, d in pairs]


def dissociation(where: Path, seeds: int) -> None:
    """Pull the O-H bond of ethanol apart: where trust ends, and where the energy error passes 43 meV."""
    backbone, curve = backbone_of(SYSTEMS["ethanol"]), field.dissociation(where)
    for seed in range(seeds):
        train, others = field.draw(field.ethanol(where, 200), seed, 50)
        potential = fit(backbone, train, seed)
        home = field.predicted(potential, others[:100])
        calibration = _calibrated(home, float(np.quantile(home.worst, 0.9)))
        found = potential.predict([point.atoms for point in curve], "exact")
        trusted = calibration.trusts([p.atomic_force_uncertainty for p in found], [p.latent_distance for p in found])
        wrong = np.array([p.energy - point.energy_eV for p, point in zip(found, curve, strict=True)])
        bottom = int(np.argmin([point.energy_eV for point in curve]))
        beyond = np.abs(wrong - wrong[bottom]) > ENERGY_ERROR_EV
        lengths = np.array([point.distance_A for point in curve])
        print(f"oh seed {seed}: tolerance {calibration.tolerance_eV_per_A:.3f} eV/Å, {calibration.summary}")
        errors_meV = 1000 * (wrong - wrong[bottom])
        known = ", ".join(f"{lengths[i]:.3f} Å ({errors_meV[i]:.0f} meV)" for i in np.flatnonzero(trusted))
        print(f"oh seed {seed}: trusted lengths, with the energy error: {known or 'none'}")
        for way, order in (("apart", range(bottom, len(curve))), ("together", range(bottom, -1, -1))):
            ends, passes = (next((i for i in order if hit[i]), order[-1]) for hit in (~trusted, beyond))
            ahead = order.index(ends) <= order.index(passes)
            name = f"oh seed {seed}, bond pushed {way}: length at which trust ends (Å), labels {LABELLED_BY['oh']}"
            report(name, lengths[ends], f"before {lengths[passes]:.3f} Å, energy error of 43 meV", holds=ahead)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=LABELLED_BY, action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few small trajectories: shows that it runs")
    arguments = parser.parse_args()
    present = [name for name in LABELLED_BY if name != "distilled" or DISTILLED.is_file()]
    where = field.folder()
    for name in arguments.only or (["ethanol"] if arguments.quick else present):
        if name in SYSTEMS:
            seeds = system_seeds(SYSTEMS[name], arguments.seeds, quick=arguments.quick)
            measure(name, list(seeds), quick=arguments.quick)
        elif where is None:
            print(f"{name}: {field.MISSING}")
        elif name == "oh":
            dissociation(where, arguments.seeds)
        else:
            measure(name, list(molecule_seeds(where, arguments.seeds)), quick=False)


if __name__ == "__main__":
    main()
