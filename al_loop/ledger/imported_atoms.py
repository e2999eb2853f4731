"""Imported energies of isolated atoms, which fix reference shifts that a campaign's labels do not determine."""

from collections.abc import Mapping
from typing import Any, Final

from bson import ObjectId

from al_loop.config import Config
from al_loop.files.labels.isolated_atoms import SAME_ENERGY_EV, in_words, require_equal
from al_loop.ledger import Ledger

IMPORTED_ATOMS: Final = "isolated atoms imported"  # kind of event


def imported_atom_energies(ledger: Ledger, level: str) -> dict[str, float]:
    """Imported energies of single atoms by symbol, eV.

    Args:
        ledger: of the campaign.
        level: fingerprint of their level of theory.
    """
    return {symbol: found["energy_eV"] for symbol, found in _imported(ledger, level).items()}


def check_atom_energies(
    ledger: Ledger, config: Config, level: str, energies_eV: Mapping[str, float], where: Mapping[str, str]
) -> None:
    """Check new energies against those of the config and those that were imported before.

    Args:
        ledger: of the campaign.
        config: its configuration.
        level: fingerprint of the level of theory.
        energies_eV: new ones by symbol.
        where: symbol -> file and frame, for messages.

    Raises:
        InputError: they differ by more than 1 meV.
    """
    before = _imported(ledger, level)
    for symbol, energy in energies_eV.items():
        new = {symbol: energy}
        require_equal(config.align.isolated_atoms_eV, new, "align.isolated_atoms_eV", where[symbol])
        if symbol in before:
            known = before[symbol]
            require_equal({symbol: known["energy_eV"]}, new, f"{known['where']} (imported before)", where[symbol])


def note_atom_energies(
    ledger: Ledger, level: str, energies_eV: Mapping[str, float], where: Mapping[str, str]
) -> ObjectId | None:
    """Record energies of single atoms for later rounds; known ones are skipped.

    Returns:
        The id of the event that holds them, None if nothing is new.
    """
    known = _imported(ledger, level)
    new = {symbol: energy for symbol, energy in energies_eV.items() if symbol not in known}
    if not new:
        return None
    atoms = {symbol: {"energy_eV": energy, "where": where[symbol]} for symbol, energy in new.items()}
    return ledger.event(IMPORTED_ATOMS, f"isolated atoms: {in_words(new)}", level=level, atoms=atoms)


def with_imported_atoms(config: Config, imported_eV: Mapping[str, float]) -> tuple[Config, list[str]]:
    """Return the config with imported energies where ``align.isolated_atoms_eV`` has none, and remarks on conflicts.

    Args:
        config: the campaign.
        imported_eV: by symbol.
    """
    own = config.align.isolated_atoms_eV
    remarks = [
        f"align.isolated_atoms_eV gives the isolated {symbol} atom {own[symbol]:.6g} eV and an imported file "
        f"{energy:.6g} eV: the config's is used. One of them has another level of theory or state."
        for symbol, energy in imported_eV.items()
        if symbol in own and abs(own[symbol] - energy) > SAME_ENERGY_EV
    ]
    align = config.align.model_copy(update={"isolated_atoms_eV": {**imported_eV, **own}})
    return config.model_copy(update={"align": align}), remarks


def _imported(ledger: Ledger, level: str) -> dict[str, Any]:
    """Symbol -> energy and its source, from the first import of each."""
    found: dict[str, Any] = {}
    for event in ledger.events(IMPORTED_ATOMS):
        if event.data["level"] == level:
            found = {**event.data["atoms"], **found}
    return found
