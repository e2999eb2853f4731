"""Read the frames of a file to import one by one, and check that the campaign can use each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.extxyz import MAGMOMS
from al_loop.files.labelled import labelled_frames
from al_loop.files.labels.isolated_atoms import is_bare_nucleus, is_isolated_atom
from al_loop.files.labels.names import LabelKeys
from al_loop.files.sources import Source, trajectory_name
from al_loop.files.text.written_entries import read_entries
from al_loop.frames.plain_atoms import check_constraints, plain_atoms
from al_loop.ledger.import_log import storable
from al_loop.records import Frame, Role
from al_loop.tools.exchange.exporting import as_remark
from al_loop.tools.exchange.harvest import suspect_verdict
from al_loop.utils.foreign_input import reading
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import defect
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

REASON: Final = "imported without a label"
MESSAGE_CHARACTERS: Final = 20_000
_NAME_CHARACTERS: Final = 200
_LONGEST_S: Final = 1e12  # what is longer is no cost
REMEDY: Final = "correct that entry or remove it from the frame"


@dataclass(frozen=True)
class Checks:
    """What the frames of an import must agree with.

    Attributes:
        elements: atomic numbers that the campaign explores.
        campaign_level: fingerprint of its level of theory.
        stated: fingerprint of the level that the user says the labels have.
    """

    elements: frozenset[int]
    campaign_level: str
    stated: str | None

    def structure(self, where: str, atoms: Atoms, *, isolated: bool) -> None:
        """Raise for an invalid structure.

        Raises:
            InputError: naming the frame.
        """
        try:
            check_structures([atoms], frozenset(atoms.numbers.tolist()) if isolated else self.elements)
            if not np.isfinite(atoms.get_initial_magnetic_moments()).all():
                raise StructureError("has initial magnetic moments that are not finite", None)
            if not (isolated and is_bare_nucleus(atoms, where)):
                charge_and_multiplicity(atoms)
        except StructureError as error:
            raise InputError(f"{where} {error.reason}") from error
        except CannotCalculateError as error:
            raise InputError(f"{where}: {error}") from error

    def level(self, where: str, known: Mapping[str, Any]) -> str:
        """Return the level of theory of a label.

        Raises:
            InputError: none is stated, or another one than the campaign's.
        """
        found = known.get("level_of_theory", self.stated)
        if found is None:
            raise InputError(
                f"{where} has a label without a level of theory. If it was calculated with label.engine of "
                f"the config, add --level engine (that is --level {self.campaign_level})"
            )
        if found != self.campaign_level:
            raise InputError(
                f"{where} has a label of level of theory {found!r}, and the campaign's is {self.campaign_level}; "
                "levels never mix. Give the file as align.other_labels, which joins it with reference shifts of its "
                "own"
            )
        return str(found)


def checked_frames(source: Source, keys: LabelKeys | None, checks: Checks, notes: list[str]) -> Iterator[Frame]:
    """Yield every frame of a file; one is in memory at a time.

    Raises:
        InputError: a frame that cannot be read, or that the campaign cannot use.
    """
    own_names = () if keys is None else (keys.energy, keys.forces, keys.stress)
    trajectory = f"import/{storable(trajectory_name(source))}"
    for found in labelled_frames(source, keys, notes):
        with reading(found.where, REMEDY):
            isolated = is_isolated_atom(found.atoms, found.where) and bool(np.isfinite(found.energy_eV))
            entries = read_entries(found.atoms, found.where, own_names)
            check_constraints(found.atoms, found.where)
            plain = plain_atoms(found.atoms)
            checks.structure(found.where, plain, isolated=isolated)
            label = _label(source.path, found, plain, checks, isolated=isolated)
        yield _campaign_frame(replace(found, atoms=plain, label=label, entries=entries), trajectory)


def _label(path: Path, found: Frame, plain: Atoms, checks: Checks, *, isolated: bool) -> Label | None:
    where, known = found.where, found.provenance
    has_energy, has_forces = np.isfinite(found.energy_eV), np.isfinite(found.forces_eV_per_A).all()
    if isolated:
        return Label(LabelStatus.CONVERGED, checks.level(where, known), found.energy_eV)
    if not (has_energy or has_forces):
        if known.get("level_of_theory") is not None:
            raise InputError(f"{where} states a level of theory, but has no energy and no forces")
        return None
    if not (has_energy and has_forces):
        raise InputError(
            f"{where} has {'an energy' if has_energy else 'forces'} and no {'forces' if has_energy else 'energy'}; a "
            "label of a campaign needs both (their names are those of --energy-key and --forces-key). Leave the frame "
            "out, or give the file as align.other_labels or to al-loop train, where missing parts have no weight "
            "in the fit"
        )
    label = Label(
        LabelStatus.CONVERGED,
        checks.level(where, known),
        found.energy_eV,
        found.forces_eV_per_A,
        found.stress_eV_per_A3 if np.isfinite(found.stress_eV_per_A3).all() else None,
        cost_s=_cost(known),
        message=as_remark({"file": path.name, **known})[:MESSAGE_CHARACTERS],
        magnetic_moments_uB=_moments(found.atoms),
    )
    wrong = defect(label, plain, checks.campaign_level)
    if wrong is not None:
        raise InputError(f"{where}: {wrong.reason}")
    return label


def _moments(atoms: Atoms) -> NDArray[np.float64] | None:
    """Calculated moments, not initial ones."""
    places = (atoms.arrays.get(MAGMOMS), atoms.arrays.get("magmoms"), getattr(atoms.calc, "results", {}).get("magmoms"))
    found = next((moments for moments in places if moments is not None), None)
    return None if found is None else np.asarray(found, float)


def _cost(known: Mapping[str, Any]) -> float:
    cost = known.get("cost_s")
    return float(cost) if isinstance(cost, int | float) and 0 <= cost <= _LONGEST_S else 0.0


def _campaign_frame(frame: Frame, trajectory: str) -> Frame:
    """The frame as the campaign keeps it: to be trained on, or as a suspect if it has no label."""
    known = frame.provenance
    former, system, verdict = known.get("trajectory"), known.get("system"), known.get("verdict")
    if isinstance(former, str):  # neighbours in time are held back from a fit together
        trajectory = f"{trajectory}/{former[:_NAME_CHARACTERS]}"
    reason = verdict.get("reason") if isinstance(verdict, dict) else None
    suspect = reason if isinstance(reason, str) and reason else REASON
    return replace(
        frame,
        role=Role.HARVESTED if frame.label is None else Role.EXPLORE,
        system=system[:_NAME_CHARACTERS] if isinstance(system, str) and system else "imported",
        trajectory=trajectory[:_NAME_CHARACTERS] if frame.label is None else trajectory,
        verdict=suspect_verdict(suspect if frame.label is None else "imported with its label"),
    )
