"""The keys of labels in a file of frames, given or found."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from al_loop.errors import InputError
from al_loop.files.text.extxyz_text import MAX_LINE
from al_loop.files.text.open_text import open_text
from committee import names


@dataclass(frozen=True)
class LabelKeys:
    """Keys of the labels in ``atoms.info`` and ``atoms.arrays``, or in the calculator's results.

    Attributes:
        energy: total energy, eV.
        forces: (n, 3) eV/Å.
        stress: eV/Å³, six numbers in ASE's order (xx, yy, zz, yz, xz, xy) or nine.
    """

    energy: str = "REF_energy"
    forces: str = "REF_forces"
    stress: str = "REF_stress"


RESULTS: Final = LabelKeys("energy", "forces", "stress")
"""Results of an ASE calculator."""

_PREDICTED: Final = {names.ENERGY_UNCERTAINTY, names.FORCES_UNCERTAINTY}
_KEY: Final = re.compile(r"""(?<!\S)([A-Za-z_][\w.:-]*)\s*=""")
_PROPERTIES: Final = re.compile(r'Properties="?([^\s"]+)')
_ENERGY: Final = re.compile(
    r".*energy(?:_per_atom|/atom|_ev|_ha|_hartree|_kcal.*)?|e_?(?:tot|total|pot|dft|scf)|toten|u0"
)
_STRESS: Final = ("stress", "stresses", "virial", "virials")
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def given_keys(energy: str | None, forces: str | None, stress: str | None) -> LabelKeys | None:
    """Return the given keys, with defaults for the rest; None if none was given."""
    if not (energy or forces or stress):
        return None
    usual = LabelKeys()
    return LabelKeys(energy or usual.energy, forces or usual.forces, stress or usual.stress)


def keys_of(path: Path, held: set[str]) -> LabelKeys:
    """Return the names of a file's labels: ``REF_...`` if any frame has them, else ASE's own results.

    Results with an uncertainty are predictions of a model, and never labels.

    Raises:
        InputError: the file has an energy and forces under other keys.
    """
    usual = LabelKeys()
    if held & {usual.energy, usual.forces}:
        return usual
    if held & {RESULTS.energy, RESULTS.forces}:
        return usual if held & _PREDICTED else RESULTS
    for name in sorted(held):
        forces = {name[: -len("energy")].lower() + word for word in ("force", "forces")}
        beside = sorted(other for other in held if other.lower() in forces)
        if name.lower().endswith("energy") and beside:
            raise InputError(
                f"{path} holds {name} and {beside[0]}, and neither {usual.energy} and {usual.forces} nor energy and "
                f"forces; if they are the labels, add --energy-key {name} --forces-key {beside[0]}"
            )
    return usual


def looks_like_energy(name: str) -> bool:
    """Whether a lower-case name is a usual key of total energies or energies per atom."""
    return bool(_ENERGY.fullmatch(name))


def looks_like_forces(name: str) -> bool:
    """Whether a lower-case name is a usual key of forces."""
    return "force" in name or "grad" in name or name in {"f", "frc"} or name.endswith("_frc")


def unread_stress(held: set[str], keys: LabelKeys) -> str:
    """Return a note on stresses or virials under other keys than the one that is read; empty without any."""
    if keys.stress in held:
        return ""
    found = sorted(name for name in held if name.lower().endswith(_STRESS) and not name.startswith("al_loop"))
    if not found:
        return ""
    return (
        f"{', '.join(found)} was not read, because no frame has {keys.stress}; give the key of a stress in eV/Å³ with "
        "--stress-key, and convert a virial in eV to a stress: minus the virial over the cell volume."
    )


def names_in_extxyz(path: Path) -> set[str]:
    """Return the names of the values and columns of all frames, as the headlines state them."""
    found: set[str] = set()
    for line in _headlines(path):
        if properties := _PROPERTIES.search(line):
            found.update(properties[1].split(":")[0::3])
        found.update(_KEY.findall(_STRINGS.sub('""', line)))
    return found


def _headlines(path: Path) -> Iterator[str]:
    """The second line of each frame; a file of another form ends it."""
    with open_text(path) as file:
        while first := file.readline(100):
            word = first.strip()
            if not word:
                continue
            if not word.isdecimal():
                return
            yield file.readline(MAX_LINE)
            for _ in range(int(word)):
                if not file.readline():
                    return
