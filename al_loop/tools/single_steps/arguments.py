"""A campaign, an engine or the checks of a validation, as a caller names them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from al_loop.config import Config
from al_loop.config.file import resolved
from al_loop.config.keys import nearest
from al_loop.config.problems import explain
from al_loop.config.settings import LabelSettings
from al_loop.config.strict_yaml import read_yaml
from al_loop.config.validation_settings import CHECK_NAMES
from al_loop.errors import InputError
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.foreign_input import reading
from dft_interfaces.settings import EngineSettings

CampaignArgument = Config | str | Path
EngineArgument = str | Path | LabelSettings | EngineSettings
"""A YAML file, a label block, or the settings of an engine alone."""
CheckSettings = Mapping[str, Any]
ChecksArgument = str | Sequence[str] | Mapping[str, CheckSettings]
"""Names with commas, ``all``, a sequence of names, or settings by name."""


def campaign_config(campaign: CampaignArgument | None) -> Config | None:
    """Return the configuration of a campaign, None without one.

    Raises:
        InputError: the file is not a valid configuration.
    """
    return campaign if campaign is None or isinstance(campaign, Config) else load_config(Path(campaign))


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
            return resolved(_LabelBlock.model_validate({"label": block}).label, path.parent)
        except ValidationError as error:
            raise InputError(f"{path}: {'; '.join(explain(error, {'label': block}))}") from error


class _LabelBlock(BaseModel):
    """A label block at its place in a config, so that a message names its keys as a config does."""

    label: LabelSettings


def named_checks(checks: ChecksArgument | None) -> dict[str, CheckSettings]:
    """Return the settings of each check by its name; none for those that are made by default.

    Raises:
        InputError: a name of no check, or text without a name.
    """
    if checks is None:
        return {}
    given = checks if isinstance(checks, Mapping) else {name: {} for name in _names(checks)}
    for name in given:
        if name not in CHECK_NAMES:
            guess = nearest(name, CHECK_NAMES)
            raise InputError(f"--checks: unknown check {name!r}{guess}; valid: all, {', '.join(CHECK_NAMES)}")
    if not given:
        raise InputError(f"--checks: received {checks!r}, expected comma-separated names: {', '.join(CHECK_NAMES)}")
    return dict(given)


def _names(checks: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(checks, str):
        return checks
    return CHECK_NAMES if checks.strip() == "all" else [word.strip() for word in checks.split(",") if word.strip()]
