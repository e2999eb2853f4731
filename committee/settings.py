"""What a user may set about the model. Each class is the documentation of its block in the YAML file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Unknown keys are errors; settings do not change after they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SevenNetSettings(Settings):
    """A SevenNet foundation: the weights come inside the ``sevenn`` wheel (GPL, an optional extra)."""

    kind: Literal["sevennet"]
    model: str = "7net-0"
    """A name that the wheel ships (7net-0, 7net-l3i5, 7net-mf-0) or the path of a checkpoint."""
    fidelity: str | None = None
    """The level of theory of a multi-fidelity model, for example PBE or R2SCAN; required for those."""
    device: Literal["cpu", "cuda"] = "cpu"


class FairchemSettings(Settings):
    """A fairchem foundation: UMA, eSEN or any checkpoint that ``load_predict_unit`` opens."""

    kind: Literal["fairchem"]
    model: str
    """A registered name (uma-s-1p2p1, gated: needs HF_TOKEN and the licence) or the path of a checkpoint."""
    task_name: Literal["omat", "omol", "oc20", "oc25", "odac", "omc"]
    """The task, which fixes the level of theory: omat for crystals, omol for molecules."""
    device: Literal["cpu", "cuda"] = "cpu"


FoundationSettings = Annotated[SevenNetSettings | FairchemSettings, Field(discriminator="kind")]


class CommitteeSettings(Settings):
    """The K residual heads."""

    members: int = Field(8, ge=2, le=1024)
    """K. More members give a steadier uncertainty at a slightly higher price."""
    hidden_channels: int = Field(64, ge=1)
    """Width of each head's hidden layers."""
    prior_scale_eV: float = Field(0.0, ge=0)
    """Size of the fixed random priors, which cancel in the mean. 0 switches them off."""
    fade_onset: float = Field(2.0, gt=0)
    """Latent distance (1 = typical of known frames) at which the correction starts to fade out."""
    fade_end: float = Field(6.0, gt=0)
    """Latent distance beyond which only the foundation is left."""

    @model_validator(mode="after")
    def _fade_ends_after_its_onset(self) -> "CommitteeSettings":
        if not self.fade_end > self.fade_onset:
            raise ValueError(f"fade_end must be above fade_onset {self.fade_onset:g}, received {self.fade_end:g}")
        return self


class TrainingSettings(Settings):
    """The dense fit of the heads on cached features and tangents."""

    epochs: int = Field(400, ge=1)
    """Full-batch AdamW steps, with a cosine schedule of the learning rate."""
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    energy_weight: float = Field(10.0, ge=0)
    """Weight of the squared error of the energy per atom (eV/atom)."""
    forces_weight: float = Field(1.0, ge=0)
    """Weight of the squared error of a force component (eV/Å)."""
    stress_weight: float = Field(1.0, ge=0)
    """Weight of the squared error of a stress component (eV/Å³, scaled by 20)."""


def resolve_path(model: str, base: Path) -> str:
    """Return ``model`` as an absolute path if such a file exists beside the config, unchanged otherwise."""
    candidate = (base / model).expanduser()
    return str(candidate.resolve()) if candidate.is_file() else model
