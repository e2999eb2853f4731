"""Events of imports: which have started and ended, and the energies of isolated atoms that they brought."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bson import ObjectId

from al_loop.config import Config
from al_loop.files.labels.isolated_atoms import SAME_ENERGY_EV, in_words, require_equal
from al_loop.ledger import Ledger
from al_loop.records import Role

BEGAN: Final = "importing"  # kinds of events
ENDED: Final = "imported"


@dataclass(frozen=True)
class UnfinishedImport:
    """A file that a campaign may hold only in part.

    Attributes:
        file: its name.
        content: SHA-256 of its content.
        labels: number of its frames with a label.
        suspects: number of its frames without one.
        began: UTC time of the start, as text.
    """

    file: str
    content: str
    labels: int
    suspects: int
    began: str

    def __str__(self) -> str:
        what = (
            f"the import of {self.file} ({self.labels} labels, {self.suspects} frames without one), begun {self.began}"
        )
        return f"{what}, has not ended: it is running, or was cut off; then import the same file again, to complete it"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of ``al-loop status --json``."""
        return {
            "file": self.file,
            "labels": self.labels,
            "suspects": self.suspects,
            "began": self.began,
            "message": str(self),
        }


def storable(name: str) -> str:
    """Return the name of a file as text that the database can store: names may hold any bytes."""
    return name.encode(errors="backslashreplace").decode()


def content_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_began(ledger: Ledger, path: Path, content: str, labels: int, suspects: int) -> ObjectId:
    """Record that the import of a checked file has started; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(BEGAN, name, file=name, content=content, labels=labels, suspects=suspects)


def note_ended(ledger: Ledger, path: Path, content: str, message: str) -> ObjectId:
    """Record that a file is imported completely; returns the id of the event."""
    name = storable(path.name)
    return ledger.event(ENDED, f"{name}: {message}", file=name, content=content)


def unfinished_imports(ledger: Ledger) -> list[UnfinishedImport]:
    """Return files whose import started and was never completed, each once, independent of any clock."""
    whole = {event.data.get("content") for event in ledger.events(ENDED)}
    began = {event.data["content"]: event for event in ledger.events(BEGAN)}
    return [
        UnfinishedImport(
            event.data["file"],
            content,
            event.data["labels"],
            event.data["suspects"],
            event.time.strftime("%Y-%m-%d %H:%M UTC"),
        )
        for content, event in began.items()
        if content not in whole
    ]


IMPORTED_ATOMS: Final = "isolated atoms imported"  # kind of event


def imported_atom_energies(ledger: Ledger, level: str) -> dict[str, float]:
    """Imported energies of single atoms by symbol, eV."""
    return {symbol: found["energy_eV"] for symbol, found in _imported(ledger, level).items()}


def incoming_results(ledger: Ledger, round_: int, level: str) -> dict[str, Any]:
    """Assign frames and labels from outside to a round; return them and its labels requested before selection."""
    incoming, requested = ledger.take_incoming(round_), ledger.requested(round_, Role.EXPLORE)
    atoms_eV = imported_atom_energies(ledger, level)
    return {"harvested": incoming.suspects, "asked_before": requested, "isolated_atoms_eV": atoms_eV}


def check_atom_energies(
    ledger: Ledger, config: Config, level: str, energies_eV: Mapping[str, float], where: Mapping[str, str]
) -> None:
    """Check new energies against those of the config and those that were imported before.

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
    """Return the config with imported energies where ``align.isolated_atoms_eV`` has none, and remarks on conflicts."""
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
