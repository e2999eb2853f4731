"""Sentences on how the engine's level of theory differs from the foundation's."""

from al_loop.config import Config
from al_loop.config.foundation_names import foundation_name
from al_loop.structures.systems import system_symbols
from al_loop.tools.preflight.checks import systems_with_paths
from committee.settings import CalculatorSettings
from dft_interfaces.levels.calculator_levels import calculator_level
from dft_interfaces.levels.foundation_levels import FoundationLevel, differences, foundation_level
from dft_interfaces.levels.level_of_theory import LevelOfTheory


def level_differences(config: Config, level: LevelOfTheory) -> list[str]:
    """Return the differences and what they mean; empty if there are none.

    Args:
        config: as ``load_config`` returns it (structure paths absolute).
        level: of the engine.
    """
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
