"""A campaign, as a caller names it: its configuration or the YAML file of it."""

from pathlib import Path

from al_loop.config import Config
from al_loop.tools.preflight.load_config import load_config

CampaignArgument = Config | str | Path


def campaign_config(campaign: CampaignArgument | None) -> Config | None:
    """Return the configuration of a campaign, None without one.

    Raises:
        InputError: the file is not a valid configuration.
    """
    return campaign if campaign is None or isinstance(campaign, Config) else load_config(Path(campaign))
