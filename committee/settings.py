"""What a user may set about the model. Each class is the documentation of its block in the YAML file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, model_validator

from committee.foreign import is_file

IMPORT_PATH = "import_path"
_FILE_WORDS = ("model", "checkpoint", "potential", "weights", "path", "file")


class Settings(BaseModel):
    """Unknown keys are errors; settings do not change after they were read."""

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
    """A SevenNet foundation: the weights come inside the ``sevenn`` wheel (GPL, an optional extra)."""

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
    memory. For one long trajectory of a small system, where mixing them again at each step is felt. Other batches,
    and models without experts, are not affected."""

    @property
    def mode(self) -> str | None:
        """See ``BaseFoundationSettings.mode``."""
        return self.task_name


OpenFoundationSettings = Annotated[SevenNetSettings | FairchemSettings, Field(discriminator="kind")]
"""Foundations with open weights; a new one adds its class here."""


class CalculatorSettings(Settings):
    """Any ASE calculator as the foundation's energy, forces and stress, with features from an open foundation.

    The way to correct closed models (Matlantis PFP), and any other force field that ASE can call.
    """

    kind: Literal["calculator"]
    import_path: str
    """Import path of the calculator class, such as ``tblite.ase.TBLite``. It runs code: name only what you trust."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the calculator. A value of the form ``{import_path: ..., arguments: {...}}`` is built
    first, at any depth and in lists too; without ``arguments`` the named object is passed as it is. So ASE's
    SumCalculator adds D3 to a foundation: ``configs/dispersion.yaml``."""
    features: OpenFoundationSettings
    """The open foundation that gives the features: the heads see atoms through it."""
    elements: tuple[str, ...] = ()
    """Symbols of the elements that the calculator knows; by default those of the features."""
    level_of_theory: str = ""
    """What the calculator's energies mean, in words, for the report."""

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
    """Width of each head's hidden layers; at 4096 the heads outweigh the foundation."""
    prior_scale_eV: float = Field(0.0, ge=0, le=100)
    """Size of the fixed random priors, which cancel in the mean. 0 switches them off."""
    fade_onset: float = Field(3.0, gt=0, le=1e9)
    """Latent distance (1 = typical of known frames) at which the correction starts to fade out."""
    fade_end: float = Field(9.0, gt=0, le=1e9)
    """Latent distance beyond which only the foundation is left; 1e9 switches the fade off."""

    @model_validator(mode="after")
    def _fade_ends_after_its_onset(self) -> "CommitteeSettings":
        if not self.fade_end > self.fade_onset:
            raise ValueError(f"fade_end must be above fade_onset {self.fade_onset:g}, received {self.fade_end:g}")
        return self


class TrainingSettings(Settings):
    """The dense fit of the heads on cached features and tangents."""

    epochs: int = Field(400, ge=1, le=10**6)
    """Full-batch AdamW steps, with a cosine schedule of the learning rate."""
    learning_rate: float = Field(5e-3, ge=1e-8, le=100)
    """AdamW moves every weight by about this much in a step: below 1e-8 single precision notices nothing, at
    100 nothing is left of what they were."""
    weight_decay: float = Field(1e-4, ge=0, le=1)
    """Share of each weight that a step takes away, times the learning rate."""
    energy_weight: float = Field(10.0, ge=0, le=1e6)
    """Weight of the squared error of the energy per atom (eV/atom)."""
    forces_weight: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared error of a force component (eV/Å)."""
    stress_weight: float = Field(1.0, ge=0, le=1e6)
    """Weight of the squared error of a stress component (eV/Å³, scaled by 20)."""
    loss: Literal["squared", "huber", "likelihood"] = "squared"
    """squared: the default. huber: for labels of which a few may be wrong. likelihood: Gaussian negative
    log-likelihood of the forces under the committee's own mean and spread, over the second half of the epochs; with
    48 labels it was no better calibrated on new frames than squared, whose members differ by their bootstrap."""
    huber_threshold_eV_per_A: float = Field(0.02, gt=0, le=1e4)
    """Errors of a force component beyond this (eV/Å) count linearly instead of squared; a tenth of the number bounds
    energies per atom (eV), the number itself stresses times 20 Å³. About the errors that good labels leave."""
    likelihood_floor_eV_per_A: float = Field(0.01, ge=1e-6, le=1e4)
    """Smallest standard deviation of a force component that the likelihood believes in: the noise of the labels."""
    exact_up_to_atoms: int = Field(32, ge=1, le=1000)
    """Frames of up to so many atoms keep their exact derivatives, 3n + 6 directions: 1.7 MB on disk and in memory at
    32 atoms and 128 features, growing with n² (1.5 GB at 1000). Larger frames are sketched, which only the
    squared loss allows."""
    sketch_directions: int = Field(96, ge=1, le=10_000)
    """Random directions per frame above ``exact_up_to_atoms``: 3.3 MB at 64 atoms and 128 features, growing with n.
    The computing time of a frame grows with the number of directions; so does what its forces teach."""
    validation_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the frames, by whole trajectories, that is held back to stop early. 0 trains on everything: with a
    few dozen labels each of them is worth more in the fit."""
    patience_epochs: int = Field(100, ge=1, le=10**6)
    """Stop after so many epochs without progress on the frames held back; the best heads are kept."""


def resolve_path(model: str, base: Path) -> str:
    """Return ``model`` as an absolute path if such a file exists beside the config, unchanged otherwise."""
    candidate = (base / model).expanduser()
    return str(candidate.resolve()) if is_file(candidate) else model


def resolve_arguments(arguments: dict[str, Any], base: Path) -> dict[str, Any]:
    """Return a calculator's arguments with absolute paths where they name files beside the config."""
    return {key: _resolve_argument(key, value, base) for key, value in arguments.items()}


def is_named_object(value: object) -> bool:
    """Whether an argument stands for an object: ``{import_path: ...}``, with or without ``arguments``."""
    return isinstance(value, dict) and set(value) in ({IMPORT_PATH}, {IMPORT_PATH, "arguments"})


def names_a_file(key: str) -> bool:
    """Whether an argument of this name is the path of a model, rather than of a log that changes with every call."""
    return any(word in key.lower() for word in _FILE_WORDS) and key != IMPORT_PATH


def _resolve_argument(key: str, value: Any, base: Path) -> Any:
    if isinstance(value, dict):
        return resolve_arguments(value, base)
    if isinstance(value, list):
        return [_resolve_argument(key, item, base) for item in value]
    return resolve_path(value, base) if isinstance(value, str) and names_a_file(key) else value
