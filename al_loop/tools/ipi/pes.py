"""The committee as i-PI asks for it: energy, forces and virial in atomic units, and what is known of them as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from al_loop.config import PhysicsSettings
from al_loop.errors import InputError
from al_loop.files.structures import read_structure
from al_loop.gate.applicability import check_suitable
from al_loop.gate.gate import Gate
from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.open_model import FoundationArgument, open_model
from committee.errors import RefusedFrameError
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction

Array = NDArray[np.float64]
Answer: TypeAlias = tuple[float, Array, Array, str]
"""Energy (Hartree), forces (n, 3) (Hartree/Bohr), virial (3, 3) (Hartree) and extras (JSON) of one structure."""

UNCERTAINTIES = ("energy", "probe", "exact")


class CommitteePES:
    """Evaluates structures for i-PI, over a socket (``al_loop.tools.ipi.driver``) or inside of it (``ffdirect``).

    A custom ``pes`` of i-PI is a file of two lines; see ``docs/sampling.md``. Each structure is judged by itself, since
    i-PI does not tell which replica or bead it is: dissociation and temperature, which need the frames of one
    trajectory, are not checked.

    Args:
        model: a checkpoint's folder, a campaign's YAML (its served model and physics), or an open committee.
        structure: the intact structure, or its file: elements, periodicity, charge and spin; atoms ordered as in i-PI.
        foundation: the foundation under a checkpoint, as for ``al-loop predict``, if it is not one by name.
        uncertainty: ``exact`` (forces of all members), ``probe`` (noisy) or ``energy`` (free: no force uncertainty).
        members: add energy, forces and virial of each member to the extras, as i-PI's ``ffcommittee`` reads them.
        any_periodicity: accept a periodicity that the model was not trained on.
        **_: what else i-PI passes, its verbosity.

    Raises:
        InputError: no model, no structure or one that is not for this model, or members without ``exact``.
    """

    def __init__(
        self,
        model: CommitteePotential | Path | str,
        structure: Atoms | Path | str,
        *,
        foundation: FoundationArgument | None = None,
        uncertainty: Uncertainty = "exact",
        members: bool = False,
        any_periodicity: bool = False,
        **_: Any,
    ) -> None:
        if uncertainty not in UNCERTAINTIES:
            raise InputError(f"uncertainty: received {uncertainty!r}, expected one of {', '.join(UNCERTAINTIES)}")
        if members and uncertainty != "exact":
            raise InputError(f"members: expected uncertainty exact beside it, received {uncertainty}")
        physics = PhysicsSettings()
        self._who = "the structure" if isinstance(structure, Atoms) else str(structure)
        self._atoms = structure.copy() if isinstance(structure, Atoms) else read_structure(Path(structure))
        self._atoms.set_constraint()
        if not isinstance(model, CommitteePotential):
            opened = open_model(Path(model), foundation)
            model, physics = opened.potential, opened.physics
        check_suitable(model, self._atoms, self._who, any_periodicity=any_periodicity)
        self._potential = model
        self._gate = Gate(model.calibration)
        self._physics = physics
        self._uncertainty = uncertainty
        self._members = members

    def __call__(self, cell: Array | Sequence[Array], positions: Array | Sequence[Array]) -> Answer | list[Answer]:
        """Answer i-PI's ``ffdirect``, for one structure or a list of them.

        Args:
            cell: (3, 3), Bohr, cell vectors as columns.
            positions: (n, 3), Bohr.
        """
        if isinstance(cell, list):
            frames = [self.frame(h.T * units.Bohr, r * units.Bohr) for h, r in zip(cell, positions, strict=True)]
            return self.evaluate(frames)
        return self.evaluate([self.frame(np.asarray(cell).T * units.Bohr, np.asarray(positions) * units.Bohr)])[0]

    def frame(self, cell_A: Array, positions_A: Array) -> Atoms:
        """The structure with other positions (n, 3) and, where it is periodic, with another cell (vectors as rows).

        Raises:
            InputError: another number of atoms.
        """
        atoms: Atoms = self._atoms.copy()
        if len(positions_A) != len(atoms):
            raise InputError(
                f"i-PI sent {len(positions_A)} atoms, expected the {len(atoms)} of {self._who} in the same order"
            )
        if atoms.pbc.any():
            atoms.cell[:] = cell_A
        atoms.positions[:] = positions_A
        return atoms

    def evaluate(self, frames: Sequence[Atoms]) -> list[Answer]:
        """Predict structures together and judge each.

        Raises:
            InputError: a structure without a prediction.
        """
        try:
            predictions = self._potential.predict(frames, self._uncertainty)
        except RefusedFrameError as error:
            raise InputError(f"the foundation has no answer for a structure that i-PI sent: {error.reason}") from error
        return [self._answer(atoms, prediction) for atoms, prediction in zip(frames, predictions, strict=True)]

    def _answer(self, atoms: Atoms, prediction: Prediction) -> Answer:
        virial = np.zeros((3, 3)) if prediction.stress is None else _virial(atoms, prediction.stress)
        return (
            float(prediction.energy / units.Ha),
            np.ascontiguousarray(prediction.forces * (units.Bohr / units.Ha), dtype=np.float64),
            virial,
            json.dumps(self._extras(atoms, prediction)),
        )

    def _extras(self, atoms: Atoms, prediction: Prediction) -> dict[str, Any]:
        """Verdict, uncertainties in eV and eV/Å; with ``members`` also i-PI's own keys, in atomic units."""
        found = PhysicsCheck(self._physics, self._atoms, 0.0).check(atoms, prediction.forces)
        verdict = self._gate.evaluate(prediction, found).verdict
        known: dict[str, Any] = {
            "verdict": verdict.kind.value,
            "reason": verdict.reason,
            "energy_uncertainty": prediction.energy_uncertainty,
        }
        if prediction.forces_uncertainty is not None:
            known["force_uncertainty"] = prediction.atomic_force_uncertainty.tolist()
        if prediction.latent_distance is not None:
            known["latent_distance"] = prediction.latent_distance.tolist()
        if self._members and prediction.forces_ensemble is not None:
            known["committee_pot"] = (prediction.energy_ensemble / units.Ha).tolist()
            known["committee_force"] = (prediction.forces_ensemble * (units.Bohr / units.Ha)).tolist()
            stresses = prediction.stress_ensemble
            known["committee_virial"] = (
                np.zeros((len(prediction.energy_ensemble), 3, 3)).tolist()
                if stresses is None
                else [_virial(atoms, stress).tolist() for stress in stresses]
            )
        return known


def _virial(atoms: Atoms, stress: Array) -> Array:
    """(3, 3) in Hartree, of a stress (6,) in eV/Å³."""
    return np.asarray(-atoms.get_volume() * voigt_6_to_full_3x3_stress(stress) / units.Ha, dtype=np.float64)
