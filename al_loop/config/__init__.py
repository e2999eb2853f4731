"""A campaign's YAML file: its settings, how it is read, and the messages for invalid configs."""

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
