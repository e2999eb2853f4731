"""Active learning for machine-learned interatomic potentials.

A campaign from Python, with the configuration that ``al-loop run`` takes:

    >>> from al_loop import Campaign
    >>> campaign = Campaign.from_file("campaign.yaml")
    >>> [report.promoted for report in campaign.run()]
    [True]

Beside a campaign: ``label``, ``train``, ``predict``, ``compare``, ``validate``, ``rank`` and ``barrier`` work on files,
``ReliabilityMonitor`` watches a production run, ``recalibrate`` renews its guarantee (``choose_frames`` writes the
frames for that), and ``harvest`` hands suspect frames to a campaign. What is wrong with an input is raised as
``al_loop.errors.InputError`` before anything is calculated or written.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from al_loop.campaign import Campaign
    from al_loop.config import Config
    from al_loop.tools.exchange.harvest import harvest
    from al_loop.tools.monitoring.monitor import ReliabilityMonitor
    from al_loop.tools.preflight.load_config import load_config
    from al_loop.tools.single_steps.barrier import barrier
    from al_loop.tools.single_steps.compare import compare
    from al_loop.tools.single_steps.label import label
    from al_loop.tools.single_steps.predict import predict
    from al_loop.tools.single_steps.rank import rank
    from al_loop.tools.single_steps.recalibrate import choose_frames, recalibrate
    from al_loop.tools.single_steps.train import train
    from al_loop.tools.single_steps.validate import validate

__all__ = [
    "Campaign",
    "Config",
    "ReliabilityMonitor",
    "barrier",
    "choose_frames",
    "compare",
    "harvest",
    "label",
    "load_config",
    "predict",
    "rank",
    "recalibrate",
    "train",
    "validate",
]

_HOMES = {
    "Campaign": "al_loop.campaign",
    "Config": "al_loop.config",
    "ReliabilityMonitor": "al_loop.tools.monitoring.monitor",
    "barrier": "al_loop.tools.single_steps.barrier",
    "choose_frames": "al_loop.tools.single_steps.recalibrate",
    "compare": "al_loop.tools.single_steps.compare",
    "harvest": "al_loop.tools.exchange.harvest",
    "label": "al_loop.tools.single_steps.label",
    "load_config": "al_loop.tools.preflight.load_config",
    "predict": "al_loop.tools.single_steps.predict",
    "rank": "al_loop.tools.single_steps.rank",
    "recalibrate": "al_loop.tools.single_steps.recalibrate",
    "train": "al_loop.tools.single_steps.train",
    "validate": "al_loop.tools.single_steps.validate",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and ``al-loop --help`` must not wait for it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'al_loop' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
