"""Isolated atoms of a campaign's elements, labelled by its engine: for ``align.isolated_atoms_eV``."""

from al_loop.config import Config
from al_loop.errors import CampaignError
from al_loop.stages.label.quarantine import failure_in_words
from al_loop.structures.systems import system_symbols
from al_loop.tools.preflight.checks import systems_with_paths
from dft_interfaces.engines.isolated_atoms import isolated_atom
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.retry import labelled_with_retries


def isolated_atom_energies_eV(config: Config) -> dict[str, float]:
    """Return the total energy of one atom of each element in all structures, eV.

    Raises:
        CampaignError: naming the atoms that gave no label and why.
        EngineNotInstalledError: the engine is missing.
    """
    label = config.label
    symbols = {symbol for _, system in systems_with_paths(config) for symbol in system_symbols(system)}
    with IsolatedEngine(label.engine, label.limits) as engine:
        labels = {
            symbol: labelled_with_retries(engine, isolated_atom(symbol, label.engine), label.retry)
            for symbol in sorted(symbols)
        }
    failed = [f"{symbol} ({failure_in_words(found)})" for symbol, found in labels.items() if found.energy_eV is None]
    if failed:
        raise CampaignError(f"No energy for {'; '.join(failed)}")
    return {symbol: found.energy_eV for symbol, found in labels.items() if found.energy_eV is not None}
