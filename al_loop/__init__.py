"""Active learning for machine-learned interatomic potentials."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from al_loop.campaign import Campaign
    from al_loop.config import Config
    from al_loop.tools.exchange.harvest import harvest
    from al_loop.tools.monitoring.monitor import ReliabilityMonitor
    from al_loop.tools.preflight.load_config import load_config

__all__ = ["Campaign", "Config", "ReliabilityMonitor", "harvest", "load_config"]

_HOMES = {
    "Campaign": "al_loop.campaign",
    "Config": "al_loop.config",
    "ReliabilityMonitor": "al_loop.tools.monitoring.monitor",
    "harvest": "al_loop.tools.exchange.harvest",
    "load_config": "al_loop.tools.preflight.load_config",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and ``al-loop --help`` must not wait for it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'al_loop' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
