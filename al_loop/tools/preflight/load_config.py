"""Read a config with all checks, also of the files that it names."""

from pathlib import Path

from al_loop.config import Config
from al_loop.config.file import problems_message, unusable_path, validated_config
from al_loop.config.problems import explain
from al_loop.errors import InputError


def load_config(path: Path | str) -> Config:
    """Read, validate and cross-check a config file; nothing is written anywhere.

    Returns:
        The config with absolute paths of structures, of a foundation's checkpoint file and of an engine's folders
        (the config file gives them relative to itself). ``folder`` stays as it was written.

    Raises:
        InputError: one message that lists everything that is wrong.

    Examples:
        >>> from al_loop import Config, load_config
        >>> config = load_config("campaign.yaml")
        >>> isinstance(config, Config), config.name, config.gate.force_tolerance_eV_per_A
        (True, 'copper', 0.15)
    """
    from al_loop.tools.preflight.checks import cross_check  # builds structures: ase.io, scipy

    path = Path(path)
    config, data = validated_config(path)
    try:
        problems = [*explain(None, data), *cross_check(config)]
    except OSError as error:
        problems = [unusable_path(error)]
    if problems:
        raise InputError(problems_message(path, problems))
    return config
