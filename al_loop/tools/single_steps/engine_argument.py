"""An engine, as a caller names it: settings, or the YAML file of a campaign, of its label block or of an engine."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from al_loop.config.file import absolute_label
from al_loop.config.problems import explain
from al_loop.config.settings import LabelSettings
from al_loop.config.strict_yaml import read_yaml
from al_loop.errors import InputError
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.foreign_input import reading
from dft_interfaces.settings import EngineSettings

EngineArgument = str | Path | LabelSettings | EngineSettings
"""A YAML file, a label block, or the settings of an engine alone."""


def label_settings(engine: EngineArgument) -> LabelSettings:
    """Read how labels are made.

    Args:
        engine: settings, or the file of a campaign's config, of a label block, or of the block of an engine alone.

    Raises:
        InputError: a file that is none of these, or one that is not valid.
    """
    if isinstance(engine, LabelSettings):
        return engine
    if not isinstance(engine, str | Path):
        return LabelSettings(engine=engine)
    path = Path(engine)
    data: dict[str, Any] = read_yaml(path)
    return load_config(path).label if "label" in data and len(data) > 1 else label_block(path)


def label_block(path: Path) -> LabelSettings:
    """Read a label block, or the block of an engine alone.

    Raises:
        InputError: neither, or one that is not valid.
    """
    data: dict[str, Any] = read_yaml(path)
    data = data["label"] if set(data) == {"label"} and isinstance(data["label"], dict) else data
    block = data if isinstance(data.get("engine"), dict) else {"engine": data}
    with reading(path, "correct the values in it"):
        try:
            return absolute_label(_LabelBlock.model_validate({"label": block}).label, path.parent)
        except ValidationError as error:
            raise InputError(f"{path}: {'; '.join(explain(error, {'label': block}))}") from error


class _LabelBlock(BaseModel):
    """A label block at its place in a config, so that a message names its keys as a config does."""

    label: LabelSettings
