"""A campaign's YAML file: its settings, how it is read, and the messages for invalid configs."""

from al_loop.config.explore_settings import ExploreSettings, HoldOutSettings, SystemSettings
from al_loop.config.settings import (
    Config,
    GateSettings,
    LabelSettings,
    OutlierSettings,
    PhysicsSettings,
    SelectSettings,
    StopSettings,
    StoreSettings,
    WatchSettings,
)
from al_loop.config.validation_settings import PromoteSettings

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
