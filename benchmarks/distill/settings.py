"""Amount of sampling and training."""

from dataclasses import dataclass

from benchmarks.distill.structures import CRYSTALS, MOLECULES, SLABS


@dataclass(frozen=True)
class DistillSettings:
    """Sizes of one distillation.

    Attributes:
        crystals: names in ``structures.CRYSTALS``; each is rattled, strained and run at three temperatures, and at a
            fourth if it melts.
        slabs: names of crystals that are also cut open; run at two temperatures.
        molecules: names in ``structures.MOLECULES``, a molecule with its charge and spin each.
        rattled_frames: rattled and strained frames of each crystal; a fifth more is held out.
        crystal_steps: MD steps of each training trajectory of a crystal or slab; held-out ones take half.
        crystal_interval: steps between two of its frames.
        molecule_steps: the same for molecules.
        molecule_interval: the same for molecules.
        epochs: passes over the training set.
        batch_atoms: atoms in a batch.
        learning_rate: of AdamW at its highest.
        md_ps: length of the final MD check at 300 K.
    """

    crystals: tuple[str, ...] = tuple(CRYSTALS)
    slabs: tuple[str, ...] = SLABS
    molecules: tuple[str, ...] = tuple(MOLECULES)
    rattled_frames: int = 25
    crystal_steps: int = 80
    crystal_interval: int = 8
    molecule_steps: int = 300
    molecule_interval: int = 10
    epochs: int = 24
    batch_atoms: int = 32
    learning_rate: float = 2e-3
    md_ps: float = 2.0


FULL = DistillSettings()
QUICK = DistillSettings(
    crystals=("Al", "Si", "NaCl"),
    slabs=("NaCl",),
    molecules=("H2O", "H2O+", "CH3OH"),
    rattled_frames=10,
    crystal_steps=24,
    molecule_steps=100,
    epochs=5,
    md_ps=0.1,
)
"""Minimal settings for a test of two minutes, not for its figures."""
