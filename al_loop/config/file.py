"""Read and validate a campaign's config, and write starter configs; one error lists all problems of a file."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from al_loop.config import Config
from al_loop.config.foundation_names import with_absolute_paths
from al_loop.config.keys import nearest
from al_loop.config.problems import explain, impossible_paths, show
from al_loop.config.strict_yaml import read_yaml
from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import writing
from committee.settings import CalculatorSettings, FairchemSettings, SevenNetSettings

Block = TypeVar("Block", bound=BaseModel)
KINDS = ("molecule", "crystal", "full")


def read_config(path: Path) -> Config:
    """Read and validate a config file, without checking the files that it names.

    Returns:
        The config, as ``load_config`` returns it.

    Raises:
        InputError: one message that lists every invalid key and value.
    """
    path = Path(path)
    config, data = validated_config(path)
    if problems := explain(None, data):
        raise InputError(problems_message(path, problems))
    return config


def validated_config(path: Path) -> tuple[Config, Any]:
    """Return the config with absolute paths, and the parsed YAML."""
    data = read_yaml(path)
    if problems := list(impossible_paths(data)):
        raise InputError(problems_message(path, problems))
    with reading(path, "correct the values in it"):
        try:
            return resolved(Config.model_validate(data), path.parent), data
        except ValidationError as error:
            raise InputError(problems_message(path, explain(error, data))) from error


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors."""
    from al_loop.config.keys import DescribedSchema

    return Config.model_json_schema(schema_generator=DescribedSchema)


def problems_message(path: Path, problems: list[str]) -> str:
    """Return one message that lists every problem of a config file."""
    if len(problems) == 1:
        return f"{path}: {problems[0]}"
    listed = "\n".join(f"  - {problem}" for problem in problems)
    return f"{path}: {len(problems)} problems\n{listed}"


def unusable_path(error: OSError) -> str:
    """Return a message for a path in a config that cannot be used."""
    return f"a path in it cannot be used: {error.strerror or error} ({show(error.filename)}); correct it"


def resolved(settings: Block, base: Path) -> Block:
    """Resolve every path in settings relative to the folder of their file; a campaign's ``folder`` stays as written."""
    return settings.model_copy(update={name: _resolved(value, base) for name, value in settings if name != "folder"})


def _resolved(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return (base / value.expanduser()).resolve()
    if isinstance(value, tuple):
        return tuple(_resolved(item, base) for item in value)
    if isinstance(value, CalculatorSettings | SevenNetSettings | FairchemSettings):
        return with_absolute_paths(value, base)
    return resolved(value, base) if isinstance(value, BaseModel) else value


def template_text(kind: str) -> str:
    """Return a commented config whose placeholders read FILL-IN.

    Raises:
        InputError: no such template.
    """
    if kind not in KINDS:
        raise InputError(f"unknown template {kind!r}{nearest(kind, KINDS)}; valid: {', '.join(KINDS)}")
    return (files("al_loop.config") / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")


def write_template(kind: str, path: Path) -> Path:
    """Write a template to a file that does not exist yet.

    Raises:
        InputError: no such template, the file exists, or it cannot be written.
    """
    text = template_text(kind)
    with writing("--output", path):
        if os.path.lexists(path):
            raise InputError(f"{path} exists already and was not changed; choose another name")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return path
