"""What a campaign's labels cost, and how their level of theory and their slabs differ from what is expected."""

from collections.abc import Iterator
from dataclasses import dataclass

from ase import Atoms

from al_loop.config import Config
from al_loop.config.foundation_names import foundation_name
from al_loop.structures.systems import all_structures, held_out_labels, load_structures, system_symbols
from al_loop.tools.preflight.checks import systems_with_paths
from al_loop.tools.preflight.structure_checks import built_structures
from committee.settings import CalculatorSettings
from dft_interfaces.engine import DFTEngine
from dft_interfaces.geometry.slab import correction_problem, faces_differ, slab_of
from dft_interfaces.levels.calculator_levels import calculator_level
from dft_interfaces.levels.foundation_levels import FoundationLevel, differences, foundation_level
from dft_interfaces.levels.level_of_theory import LevelOfTheory
from dft_interfaces.settings.crystals import PeriodicEngineSettings


@dataclass(frozen=True)
class LabelCost:
    """An order of magnitude: wall time of one label of each structure, s, by name, and the largest number of labels.

    The limit of time and the cores are those of one calculation.
    """

    seconds: dict[str, float]
    labels: int
    time_limit_s: float
    cores: int

    @property
    def core_hours_each(self) -> float:
        """Of one label, if it costs what the mean structure does."""
        return sum(self.seconds.values()) / len(self.seconds) * self.cores / 3600

    @property
    def core_hours(self) -> float:
        """Of all labels."""
        return self.labels * self.core_hours_each

    @property
    def too_long(self) -> list[str]:
        """Structures whose estimate is beyond the time limit."""
        return [name for name, seconds in self.seconds.items() if seconds > self.time_limit_s]

    def __str__(self) -> str:
        each = ", ".join(f"{name} {_rounded(seconds)}" for name, seconds in self.seconds.items())
        text = f"about {each} each; at most {self.labels} labels, about {self.core_hours:.2g} core hours"
        if self.too_long:
            text += (
                f". Beyond label.limits.time_s ({self.time_limit_s:g} s): {', '.join(self.too_long)}; raise the limit, "
                "or use a smaller cell or cheaper settings"
            )
        return text


def label_cost(config: Config, engine: DFTEngine) -> LabelCost:
    """Estimate what a campaign's labels cost with its engine."""
    structures = all_structures([system for _, system in systems_with_paths(config)])
    asked_for = held_out_labels(config.hold_out) + config.rounds * config.select.labels_per_round
    return LabelCost(
        seconds={structure.name: engine.estimate_s(structure.atoms) for structure in structures},
        labels=asked_for if config.stop.labels is None else min(asked_for, config.stop.labels),
        time_limit_s=config.label.limits.time_s,
        cores=engine.cores,
    )


def _rounded(seconds: float) -> str:
    """Return a number with one or two digits, the precision of an estimate."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1g} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - an hour


def level_differences(config: Config, level: LevelOfTheory) -> list[str]:
    """Return how the engine's level of theory differs from the foundation's, and what that means; may be empty."""
    foundation = _foundation_level(config)
    if foundation is None:
        name = foundation_name(config.foundation)
        ours = f"{level.code}: {level.summary}"
        return [f"The level of theory of {name} is not in the table: whether the labels share it ({ours}) is open."]
    elements = {symbol for _, system in systems_with_paths(config) for symbol in system_symbols(system)}
    return differences(level, foundation, elements)


def _foundation_level(config: Config) -> FoundationLevel | None:
    foundation = config.foundation
    if isinstance(foundation, CalculatorSettings):
        return calculator_level(foundation.import_path, foundation.arguments)
    return foundation_level(foundation.kind, foundation.model, foundation.mode)


def dipole_notes(config: Config) -> Iterator[str]:
    """Yield one sentence for each slab with unlike faces that is labelled without a dipole correction.

    With the correction, yield one for each structure that has vacuum and is no slab, which it does not act on. Engines
    without the setting get no sentence.
    """
    engine = config.label.engine
    if not isinstance(engine, PeriodicEngineSettings):
        return
    for dotted, system in systems_with_paths(config):
        structures = load_structures(system)
        built = [one for structure in structures for one in built_structures(dotted, system, structure)[0]]
        found: dict[str, str] = {}  # strained and rattled copies of one slab need no sentence each
        for where, atoms in built:
            note = engine.slab_remark(atoms) if slab_of(atoms) is None else ""
            note = note or ("" if engine.corrects_dipoles else _suggestion(atoms))
            if note:
                found.setdefault(note, f"{where}: {atoms.get_chemical_formula()} {note}")
        yield from found.values()


def _suggestion(atoms: Atoms) -> str:
    slab = slab_of(atoms)
    if slab is None or not faces_differ(atoms, slab):
        return ""
    problem = correction_problem(atoms, slab)
    before = "" if problem is None else f". This structure would be refused: {problem}"
    return (
        "is a slab whose two faces differ, so that the field of its dipole reaches across the vacuum along "
        f"{'abc'[slab.axis]} to its periodic images; consider label.engine.dipole_correction: true, another level of "
        f"theory{before}"
    )
