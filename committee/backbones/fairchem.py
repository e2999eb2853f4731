"""UMA, eSEN and every other eSCN-MD checkpoint of fairchem as a foundation."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import torch
from ase import Atoms
from torch import Tensor, nn

from committee.backbones.charge_spin import read_charge_spin
from committee.backbones.contract import Adaptation, Evaluation, blocks_of, train_weights
from committee.backbones.fairchem_checkpoint import OpenCheckpoint, open_checkpoint
from committee.backbones.fairchem_execution import GENERAL, serving_mode, set_execution_mode
from committee.backbones.fairchem_merging import MergedExperts, is_mixture
from committee.backbones.geometry import Leaves, keep_attached, make_leaves
from committee.errors import StructureError
from committee.settings import FairchemSettings
from committee.structures import check_structures

_ELEMENTARY = "(sphere|source|target|charge|spin|dataset)_embedding|mix_csd"
_LEVELS = {
    "omat": "PBE(+U), VASP, OMat24 settings",
    "omol": "ωB97M-V/def2-TZVPD, ORCA, OMol25 settings",
    "oc20": "RPBE, VASP, OC20 settings, total energies",
    "oc25": "RPBE-D3, VASP, OC25 settings",
    "odac": "PBE-D3(BJ), VASP, ODAC25 settings",
    "omc": "PBE-D3(0), VASP, OMC25 settings",
}
"""Level of theory of each task, as fairchem documents its data sets."""


class FairchemBackbone:
    """A frozen fairchem model with the pretrained head, normaliser and element references of one task.

    Features are the l = 0 part of the node embedding, the input of the pretrained energy head. Energies are in
    float64 for every precision of the model, as in fairchem's own calculator: all-electron totals would lose their
    last digits in float32.

    Attributes:
        settings: the settings it was opened with.
        energy_task: fairchem's task of the energy: name, normaliser and element references.
    """

    def __init__(
        self,
        checkpoint: OpenCheckpoint,
        settings: FairchemSettings,
        adaptation: Adaptation | None = None,
        *,
        merge_experts: bool | None = None,
    ) -> None:
        self.base_name = f"fairchem:{checkpoint.label}/{settings.task_name}"
        self.base_fingerprint = checkpoint.fingerprint
        self._adaptation = adaptation or Adaptation(self.base_name, self.base_fingerprint)
        self.name = self._adaptation.name
        self.fingerprint = self._adaptation.fingerprint
        self.changed_weights: Mapping[str, Tensor] = self._adaptation.changed_weights
        self.level_of_theory = self._adaptation.level_of_theory or _LEVELS[settings.task_name]
        self.elements = checkpoint.elements
        self.dtype = checkpoint.dtype
        self.settings = settings
        self.energy_task = checkpoint.energy_task
        self._lone_atoms = checkpoint.lone_atoms
        self._checkpoint = checkpoint
        module: nn.Module = checkpoint.unit.model.module
        self.module = module if adaptation is None else adaptation.applied_to(module)
        self.weight_blocks: Sequence[Sequence[str]] = blocks_of(self.module, r"backbone\.blocks\.(\d+)\.")
        self.device = torch.device(checkpoint.unit.device)
        mixed = is_mixture(checkpoint.escn)
        merging = mixed and (settings.merge_experts if merge_experts is None else merge_experts)
        self.execution_mode = serving_mode(checkpoint.unit, one_mixture=merging or not mixed)
        self._merged = (
            MergedExperts(self.module, checkpoint.unit.inference_settings, checkpoint.dtype, self.execution_mode)
            if merging
            else None
        )
        self._fast: nn.Module | None = None
        self.cutoff_A = float(checkpoint.escn.cutoff)
        self.feature_size = int(checkpoint.escn.sphere_channels)

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        """See :class:`committee.backbones.contract.Backbone`.

        Raises:
            StructureError: also for charge and spin that are missing or invalid for the task.
        """
        check_structures(frames, self.elements)
        leaves = make_leaves(frames, self.dtype, self.device)
        energy, features = self._forward(frames, self._batch(frames, leaves))
        energy = self._replace_lone_atoms(frames, energy)
        return Evaluation(
            positions=leaves.positions,
            strain=leaves.strain,
            energy=keep_attached(energy, leaves),
            features=keep_attached(features, leaves),
            atomic_numbers=leaves.atomic_numbers,
            frame_index=leaves.frame_index,
            volumes=leaves.volumes,
        )

    def to(self, dtype: torch.dtype) -> "FairchemBackbone":
        """Return the same model in another precision.

        The checkpoint is read again: tables that are computed at construction would keep the old precision.
        """
        if dtype == self.dtype:
            return self
        return FairchemBackbone(open_checkpoint(self.settings, dtype), self.settings, self._adaptation)

    def with_weights(self, changed: Mapping[str, Tensor], level_of_theory: str | None = None) -> "FairchemBackbone":
        """See :class:`committee.backbones.contract.OpenBackbone`."""
        adaptation = self._adaptation.changed_by(changed, self.module, level_of_theory)
        return FairchemBackbone(self._checkpoint, self.settings, adaptation)

    def trainable(self) -> "FairchemBackbone":
        """See :class:`committee.backbones.contract.OpenBackbone`."""
        copied = FairchemBackbone(self._checkpoint, self.settings, self._adaptation, merge_experts=False)
        copied.execution_mode = GENERAL  # training needs second derivatives
        train_weights(copied.module, [name for name, _ in copied.module.named_parameters()], _ELEMENTARY)
        return copied

    @property
    def twice_differentiable(self) -> "FairchemBackbone":
        """The same model in fairchem's general execution mode, with its experts unmerged."""
        general = copy(self)
        general.execution_mode, general._merged = GENERAL, None
        return general

    def _batch(self, frames: Sequence[Atoms], leaves: Leaves) -> Any:
        """Return fairchem's batch of the frames, with strained positions and cells as functions of the leaves."""
        from fairchem.core.datasets.atomic_data import AtomicData, atomicdata_list_to_batch

        batch = atomicdata_list_to_batch(
            [
                AtomicData.from_ase(
                    _bare(index, atoms, self.settings.task_name),
                    task_name=self.settings.task_name,
                    r_data_keys=["spin", "charge"],
                    target_dtype=self.dtype,
                )
                for index, atoms in enumerate(frames)
            ]
        ).to(self.device)
        strain = leaves.symmetric_strain
        # Fairchem wraps atoms into the cell: keep its values and add a zero with the derivative.
        positions = batch.pos + (leaves.positions - leaves.positions.detach())
        batch.pos = positions + torch.bmm(positions.unsqueeze(1), strain[leaves.frame_index]).squeeze(1)
        batch.cell = batch.cell + torch.bmm(batch.cell, strain)
        return batch

    def _forward(self, frames: Sequence[Atoms], batch: Any) -> tuple[Tensor, Tensor]:
        """Return energy (B,) and features (N, D) from one pass; a hook captures the features."""
        captured: list[dict[str, Tensor]] = []
        model = self._model_for(frames, batch)
        backbone = model.get_submodule("backbone")
        hook = backbone.register_forward_hook(lambda _module, _inputs, output: captured.append(output))
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)  # fairchem rotates edge frames by random angles, which change the last digits
                outputs = model(batch)
        finally:
            hook.remove()
        energy = self.energy_task.normalizer.denorm(outputs[self.energy_task.name]["energy"])
        if self.energy_task.element_references is not None:
            energy = self.energy_task.element_references.undo_refs(batch, energy)
        return energy, captured[0]["node_embedding"].narrow(1, 0, 1).squeeze(1)

    def _model_for(self, frames: Sequence[Atoms], batch: Any) -> nn.Module:
        if self._merged is None:
            return self.module if self.execution_mode == GENERAL else self._fast_model()
        first = frames[:1]
        return self._merged.model_for(batch, lambda: self._batch(first, make_leaves(first, self.dtype, self.device)))

    def _fast_model(self) -> nn.Module:
        """Return the model in its serving mode, made at the first use: the memory of another model."""
        if self._fast is None:
            self._fast = deepcopy(self.module)
            set_execution_mode(self._fast, self.execution_mode)
        return self._fast

    def _replace_lone_atoms(self, frames: Sequence[Atoms], energy: Tensor) -> Tensor:
        """Replace the energy of an isolated atom by that of the reference table, as fairchem does."""
        if self._lone_atoms is None:
            return energy
        table = self._lone_atoms
        rows = [i for i, atoms in enumerate(frames) if len(atoms) == 1 and not atoms.pbc.any()]
        energies = [_look_up(table, index, frames[index], self.settings.task_name) for index in rows]
        replaced = energy.clone()
        replaced[rows] = torch.tensor(energies, dtype=energy.dtype, device=energy.device)
        return replaced


def load_fairchem(settings: FairchemSettings, dtype: torch.dtype = torch.float32) -> FairchemBackbone:
    """Load a registered model or a checkpoint file of fairchem.

    A checkpoint is a pickle: opening a file executes code of its author.

    Raises:
        FoundationError: the name is unknown, the weights cannot be fetched or read, the checkpoint lacks the
            task, or it predicts forces that are not the derivative of its energy.
    """
    return FairchemBackbone(open_checkpoint(settings, dtype), settings)


def _bare(index: int, atoms: Atoms, task_name: str) -> Atoms:
    """Copy only the model's inputs; the cell is completed, and labels are left out."""
    charge, spin = read_charge_spin(index, atoms, task_name)
    return Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell.complete(),
        pbc=atoms.pbc,
        info={"charge": charge, "spin": spin},
    )


def _look_up(table: dict[int, dict[int, float]], index: int, atoms: Atoms, task_name: str) -> float:
    charge = read_charge_spin(index, atoms, task_name)[0]
    try:
        return table[int(atoms.numbers[0])][charge]
    except KeyError:
        raise StructureError(
            f"is a single {atoms.symbols[0]} atom of charge {charge}; task {task_name} has no "
            "reference energy for it, and fairchem does not predict single atoms. Leave it out.",
            index,
        ) from None
