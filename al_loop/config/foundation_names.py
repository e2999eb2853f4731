"""Names of foundation models, without importing their libraries."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from al_loop.config.keys import nearest
from committee.foreign import is_file
from committee.settings import (
    CalculatorSettings,
    FairchemSettings,
    FoundationSettings,
    OpenFoundationSettings,
    SevenNetSettings,
    resolve_arguments,
    resolve_path,
)
from committee.sevennet_names import FETCHED, SHIPPED, canonical, is_shipped, why_unknown


def open_weights(foundation: FoundationSettings) -> tuple[str, OpenFoundationSettings]:
    """Return the config key and settings of the model that gives features: of a calculator, its ``features``."""
    if isinstance(foundation, CalculatorSettings):
        return "foundation.features", foundation.features
    return "foundation", foundation


def foundation_name(foundation: FoundationSettings) -> str:
    """Return the name of a foundation for messages."""
    return foundation.import_path if isinstance(foundation, CalculatorSettings) else foundation.model


def with_absolute_paths(foundation: FoundationSettings, base: Path) -> FoundationSettings:
    """Resolve the model files that a foundation's settings name relative to the config's folder."""
    if isinstance(foundation, CalculatorSettings):
        features = foundation.features
        return foundation.model_copy(
            update={
                "features": features.model_copy(update={"model": resolve_path(features.model, base)}),
                "arguments": resolve_arguments(foundation.arguments, base),
            }
        )
    return foundation.model_copy(update={"model": resolve_path(foundation.model, base)})


def unknown_model(settings: OpenFoundationSettings) -> str | None:
    """Return one sentence on a model that is neither a file nor a name with known weights; None if it is one.

    Names of foundations of other kinds than SevenNet and fairchem are checked when they are loaded.
    """
    model = settings.model
    if is_file(model):
        return None
    if isinstance(settings, SevenNetSettings):
        guess = "" if canonical(model) in FETCHED else nearest(model, tuple(SHIPPED))
        return None if is_shipped(model) else f"{why_unknown(model)}{guess}"
    if not isinstance(settings, FairchemSettings):
        return None
    names = tuple(_fairchem_registry())
    if not names or model.lower() in names:  # names are unknown if fairchem is not installed
        return None
    return f"{model!r} is neither a file nor a fairchem model{nearest(model, names)}; known names: {', '.join(names)}"


def weights_at_hand(model: str) -> bool:
    """Whether the weights of a fairchem model are on this machine, as a file or in the download cache."""
    if is_file(model):
        return True
    from huggingface_hub import try_to_load_from_cache

    registry = _fairchem_registry()
    if model not in registry:
        return False
    entry = registry[model]
    name = "/".join(part for part in (entry.get("subfolder"), entry["filename"]) if part)
    return isinstance(try_to_load_from_cache(entry["repo_id"], name), str)


def _fairchem_registry() -> dict[str, dict[str, Any]]:
    """Registered models, from fairchem's own file (importing fairchem takes seconds)."""
    spec = find_spec("fairchem")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        registry = Path(folder) / "core" / "calculate" / "pretrained_models.json"
        if registry.is_file():
            models: dict[str, dict[str, Any]] = json.loads(registry.read_text(encoding="utf-8"))
            return models
    return {}
