"""A campaign's YAML file: what may stand in it, how it is read, and what is said when it is wrong."""

from al_loop.config.explore_settings import ExploreSettings, HoldOutSettings
from al_loop.config.gate_settings import GateSettings, PhysicsSettings
from al_loop.config.promote_settings import PromoteSettings
from al_loop.config.select_settings import SelectSettings
from al_loop.config.settings import Config, LabelSettings, OutlierSettings, StoreSettings, WatchSettings
from al_loop.config.stop_settings import StopSettings
from al_loop.config.system_settings import SystemSettings

__all__ = [
    "Config",
    "ExploreSettings",
    "GateSettings",
    "HoldOutSettings",
    "LabelSettings",
    "OutlierSettings",
    "PhysicsSettings",
    "PromoteSettings",
    "SelectSettings",
    "StopSettings",
    "StoreSettings",
    "SystemSettings",
    "WatchSettings",
]
