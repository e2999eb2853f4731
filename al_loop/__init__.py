"""Active learning for machine-learned interatomic potentials."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from al_loop.campaign import Campaign
    from al_loop.config import Config
    from al_loop.config.file import load_config

__all__ = ["Campaign", "Config", "load_config"]

_HOMES = {"Campaign": "al_loop.campaign", "Config": "al_loop.config", "load_config": "al_loop.config.file"}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and ``al-loop --help`` must not wait for it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'al_loop' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
