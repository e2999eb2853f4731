"""Settings of the model. Each class documents its block in the YAML file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, model_validator

from committee.foreign import is_file

IMPORT_PATH = "import_path"
FITTED_OVER_RANDOM = 3  # cost of a fitted direction, an evaluation of its own, over that of a random one
_FILE_NAME_PARTS = ("model", "checkpoint", "potential", "weights", "path", "file")


class Settings(BaseModel):
    """Unknown keys are errors; settings are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class BaseFoundationSettings(Settings):
    """What the block of every foundation with open weights has."""

    kind: str
    """Which library the foundation is of."""
    model: str
    """Which weights: a name that the library knows, or the path of a file."""
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def mode(self) -> str | None:
        """The task or fidelity that fixes the level of theory, None where the weights alone fix it."""
        return None


class SevenNetSettings(BaseFoundationSettings):
    """A SevenNet foundation: the weights are part of the ``sevenn`` wheel (GPL, an optional extra)."""

    kind: Literal["sevennet"]
    model: str = "7net-0"
    """A name that the wheel ships (7net-0, 7net-l3i5, 7net-mf-0) or the path of a checkpoint."""
    fidelity: str | None = None
    """The level of theory of a multi-fidelity model, for example PBE or R2SCAN; required for those."""

    @property
    def mode(self) -> str | None:
        """See ``BaseFoundationSettings.mode``."""
        return self.fidelity


class FairchemSettings(BaseFoundationSettings):
    """A fairchem foundation: UMA, eSEN or any checkpoint that ``load_predict_unit`` opens."""

    kind: Literal["fairchem"]
    model: str
    """A registered name (uma-s-1p2p1, gated: needs HF_TOKEN and the licence) or the path of a checkpoint."""
    task_name: Literal["omat", "omol", "oc20", "oc25", "odac", "omc"]
    """The task, which fixes the level of theory: omat for crystals, omol for molecules."""
    merge_experts: bool = False
    """Merge the experts of a UMA model while all frames of a batch share composition, charge and spin, at twice the
    memory. For one long trajectory of a small system, where mixing them again at each step takes noticeable time.
    Other batches, and models without experts, are not affected."""

    @property
    def mode(self) -> str | None:
        """See ``BaseFoundationSettings.mode``."""
        return self.task_name


OpenFoundationSettings = Annotated[SevenNetSettings | FairchemSettings, Field(discriminator="kind")]
"""Foundations with open weights; a new one adds its class here."""


class CalculatorSettings(Settings):
    """A foundation with energy, forces and stress from any ASE calculator and features from an open foundation.

    Use it to correct closed models (Matlantis PFP) and any other force field that ASE can call.
    """

    kind: Literal["calculator"]
    import_path: str
    """Import path of the calculator class, such as ``tblite.ase.TBLite``. It runs code: name only what you trust."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator. A value of the form ``{import_path: ..., arguments: {...}}`` is built
    first, at any depth and in lists too; without ``arguments`` the named object is passed as it is. So ASE's
    SumCalculator adds D3 to a foundation: ``configs/dispersion.yaml``."""
    features: OpenFoundationSettings
    """The open foundation that provides the features, the input of the heads."""
    elements: tuple[str, ...] = ()
    """Symbols of the elements that the calculator covers; by default those of the features."""
    level_of_theory: str = ""
    """Level of theory of the calculator's energies, for the report."""

    @model_validator(mode="after")
    def _elements_exist(self) -> "CalculatorSettings":
        unknown = [symbol for symbol in self.elements if symbol not in chemical_symbols[1:]]
        if unknown:
            raise ValueError(f"elements: expected symbols such as Na, received {', '.join(unknown)}")
        return self


FoundationSettings = Annotated[OpenFoundationSettings | CalculatorSettings, Field(discriminator="kind")]


class CommitteeSettings(Settings):
    """The K residual heads."""

    members: int = Field(8, ge=2, le=1024)
    """K. More members give a steadier uncertainty at a slightly higher price."""
    hidden_channels: int = Field(64, ge=1, le=4096)
    """Width of each head's hidden layers; at 4096 the heads have more weights than the foundation."""
    prior_scale_eV: float = Field(0.0, ge=0, le=100)
    """Size of the fixed random priors, which cancel in the mean. 0 switches them off."""
    switch_start: float = Field(3.0, gt=0, le=1e9)
    """Latent distance (1 = typical of training frames) at which the correction's switching function starts to fall."""
    switch_end: float = Field(9.0, gt=0, le=1e9)
    """Latent distance from which the switching function and the correction are zero; 1e9 never switches it off."""

    @model_validator(mode="after")
    def _switch_ends_after_its_start(self) -> "CommitteeSettings":
        if not self.switch_end > self.switch_start:
            raise ValueError(
                f"switch_end must be above switch_start {self.switch_start:g}, received {self.switch_end:g}"
            )
        return self


class TrainingSettings(Settings):
    """The dense fit of the heads on cached features and tangents."""

    epochs: int = Field(400, ge=1, le=10**6)
    """Full-batch AdamW steps, with a cosine schedule of the learning rate."""
    learning_rate: float = Field(5e-3, ge=1e-8, le=100)
    """AdamW changes every weight by about this much in a step: below 1e-8 the change is lost in single precision, at
    100 it overwrites the weights."""
    weight_decay: float = Field(1e-4, ge=0, le=1)
    """Each step reduces a weight by this share of it, times the learning rate."""
    energy_weight: float = Field(10.0, ge=0, le=1e6)
    """Weight of the squared error of the energy per atom (eV/atom)."""
    forces_weight: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared error of a force component (eV/Å)."""
    stress_weight: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared error of a stress component (eV/Å³, scaled by 20)."""
    loss: Literal["squared", "huber", "likelihood"] = "squared"
    """squared: the default. huber: for labels of which a few may be wrong. likelihood: Gaussian negative
    log-likelihood of the forces under the committee's own mean and spread, over the second half of the epochs; with
    48 labels it was no better calibrated on new frames than squared, whose members differ by bootstrap."""
    huber_threshold_eV_per_A: float = Field(0.02, gt=0, le=1e4)
    """Errors of a force component beyond this (eV/Å) count linearly instead of squared; the threshold of energies per
    atom (eV) is a tenth of it, that of stresses times 20 Å³ is equal to it. About the residual error on good labels."""
    likelihood_floor_eV_per_A: float = Field(0.01, ge=1e-6, le=1e4)
    """Smallest standard deviation of a force component in the likelihood: the noise of the labels."""
    exact_up_to_atoms: int = Field(32, ge=1, le=1000)
    """Frames of up to this many atoms keep exact derivatives, 3n + 6 directions: 1.7 MB on disk and in memory at
    32 atoms and 128 features, growing with n² (1.5 GB at 1000). Larger frames use random directions, which only the
    squared loss allows. Lower it together with ``random_directions`` where the foundation is too expensive."""
    random_directions: int = Field(96, ge=1, le=10_000)
    """Random directions per frame above ``exact_up_to_atoms``, besides that of the foundation's error: 3.2 MB at 64
    atoms and 128 features, growing with n. The computing time of a frame and the information from its forces and stress
    grow with their number. Frames with no more coordinates than that keep exact derivatives."""
    fitted_directions: int = Field(0, ge=0, le=100)
    """Further directions of such a frame, one by one: that of the error which a fit to the directions so far leaves.
    Each costs an energy-and-force call of the foundation and a fit, and is worth several random directions. A frame
    keeps them in the cache of tangents when the committee is trained again, so that the heads then depend on the
    cache; with 0 they follow from the labels, the settings and the seed alone."""
    validation_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the frames, by whole trajectories, held out for early stopping. 0 trains on all frames: with a few
    dozen labels each is worth more in the fit."""
    patience_epochs: int = Field(100, ge=1, le=10**6)
    """Stop after this many epochs without improvement on the held-out frames; the best heads are kept."""

    def random_count(self, n_atoms: int, *, strained: bool) -> int | None:
        """Return the number of random directions of a frame; None if its derivatives are exact.

        They are exact also where random directions would cost as much.

        Args:
            n_atoms: of the frame.
            strained: whether it is periodic in three directions.
        """
        coordinates = 3 * n_atoms + 6 * strained
        cost = 1 + self.random_directions + FITTED_OVER_RANDOM * self.fitted_directions
        return None if n_atoms <= self.exact_up_to_atoms or cost >= coordinates else self.random_directions


class AdaptSettings(Settings):
    """Adaptation of an open foundation's own weights, before the heads.

    For labels on which the heads stop improving above the tolerance: ionic solids, dense hot liquids, small
    foundations, many labels. Energies, forces and stress are weighted as in ``TrainingSettings``.
    """

    method: Literal["full", "last_blocks", "low_rank"] = "full"
    """full: all weights that the foundation's own training fitted, but embeddings of the elements. last_blocks: those
    of the last blocks and of the readout only, for foundations whose optimiser state does not fit into memory.
    low_rank: a change of rank ``rank`` of every matrix, within the channels of each irrep, which keeps the model
    equivariant; small files."""
    last_blocks: int = Field(2, ge=1, le=1000)
    """Number of message-passing blocks that ``last_blocks`` adapts."""
    rank: int = Field(8, ge=1, le=4096)
    """Rank of the change of each matrix under ``low_rank``; matrices whose smaller side is not larger change fully."""
    optimizer: Literal["auto", "gauss_newton", "adam"] = "auto"
    """gauss_newton: the most accurate and for small models the fastest, without a learning rate; the pull towards the
    foundation's weights follows from the labels. Its Jacobian needs memory: labels × weights. adam: mini-batches, for
    large models. auto: gauss_newton for ``full`` and ``last_blocks`` where its Jacobian fits into
    ``jacobian_memory_GB``."""
    jacobian_memory_GB: float = Field(8.0, ge=0, le=1e6)
    """Memory of gauss_newton's Jacobian on the foundation's device: 5 GB hold all labels of 48 frames of 8 atoms for
    840,000 weights. Where it is too small for all force components, forces are projected on random directions, others
    in each iteration."""
    iterations: int = Field(1, ge=0, le=1000)
    """Jacobians of gauss_newton, each at the weights that the last one led to. A second one gained 2 %."""
    epochs: int = Field(100, ge=0, le=10**6)
    """Passes of adam over the labelled frames. With 0 epochs and 0 iterations the foundation is unchanged."""
    batch_frames: int = Field(4, ge=1, le=10_000)
    """Labelled frames of a step of adam. Smaller batches take more steps in the same time."""
    learning_rate: float = Field(1e-3, ge=1e-8, le=1)
    """Largest learning rate of adam: it rises linearly over the first 5 % of the steps and then falls as a cosine.
    low_rank needs about ten times more than full."""
    pull_to_foundation: float = Field(0.0, ge=0, le=1e6)
    """Each step of adam moves every weight back to the foundation's by this share of the distance, times the learning
    rate (L2-SP, decoupled as in AdamW)."""
    replay_share: float = Field(0.25, ge=0, lt=1)
    """Share of replayed frames, labelled by the foundation itself, among all frames of an iteration or epoch: they keep
    the model as it was far from the labels. Each costs as much time as a labelled frame of its size."""
    replay_weight: float = Field(0.02, ge=0, le=1e6)
    """Weight of the mean loss of the replayed frames over that of the labelled frames; frames with large forces count
    less. At 1 the foundation was kept so well that NaCl gained a factor of 1.8 only."""
    validation_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the labelled frames, by whole trajectories, held out for early stopping; if nothing is better on them
    than the foundation, the foundation remains unchanged. 0 trains on all frames."""
    patience_epochs: int = Field(30, ge=1, le=10**6)
    """Stop adam after this many epochs without improvement on the held-out frames; the best weights are kept."""


def resolve_path(model: str, base: Path) -> str:
    """Return ``model`` as an absolute path if such a file exists in the config's folder, unchanged otherwise."""
    candidate = (base / model).expanduser()
    return str(candidate.resolve()) if is_file(candidate) else model


def resolve_arguments(arguments: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a calculator's arguments with absolute paths where they name files in the config's folder."""
    return {key: _resolve_argument(key, value, base) for key, value in arguments.items()}


def is_named_object(value: object) -> bool:
    """Whether an argument describes an object: ``{import_path: ...}``, with or without ``arguments``."""
    return isinstance(value, dict) and set(value) in ({IMPORT_PATH}, {IMPORT_PATH, "arguments"})


def names_a_file(key: str) -> bool:
    """Whether an argument of this name is the path of a model, rather than of a log that changes with every call."""
    return any(part in key.lower() for part in _FILE_NAME_PARTS) and key != IMPORT_PATH


def _resolve_argument(key: str, value: Any, base: Path) -> Any:
    if isinstance(value, dict):
        return resolve_arguments(value, base)
    if isinstance(value, list):
        return [_resolve_argument(key, item, base) for item in value]
    return resolve_path(value, base) if isinstance(value, str) and names_a_file(key) else value
