"""A campaign's YAML file: what may stand in it, how it is read, and what is said when it is wrong."""

from al_loop.config.settings import (
    Config,
    ExploreSettings,
    GateSettings,
    HoldOutSettings,
    LabelSettings,
    OutlierSettings,
    PhysicsSettings,
    PromoteSettings,
    SelectSettings,
    StoreSettings,
    SystemSettings,
)

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
    "StoreSettings",
    "SystemSettings",
]
