"""Read and validate a campaign's config; one error lists all problems of the file."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from al_loop.config import Config
from al_loop.config.align_settings import OtherLabelsSettings
from al_loop.config.explore_settings import ExploreSettings
from al_loop.config.foundation_names import with_absolute_paths
from al_loop.config.problems import explain
from al_loop.config.promote_settings import PromoteSettings
from al_loop.config.settings import LabelSettings, StoreSettings, TrainSettings
from al_loop.config.strict_yaml import read_yaml
from al_loop.config.values import impossible_paths, show
from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading

Step = TypeVar("Step", LabelSettings, ExploreSettings, TrainSettings)


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
            return _with_absolute_paths(Config.model_validate(data), path.parent), data
        except ValidationError as error:
            raise InputError(problems_message(path, explain(error, data))) from error


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors."""
    from al_loop.config.field_docs import DescribedSchema

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


def _with_absolute_paths(config: Config, base: Path) -> Config:
    hold_out = config.hold_out
    never_trained = tuple(system.relative_to(base) for system in hold_out.never_trained)
    return config.model_copy(
        update={
            "foundation": with_absolute_paths(config.foundation, base),
            "systems": tuple(system.relative_to(base) for system in config.systems),
            "label": absolute_label(config.label, base),
            "explore": _with_absolute_queue(config.explore, base),
            "train": _with_absolute_queue(config.train, base),
            "promote": _with_absolute_validation(config.promote, base),
            "store": _with_absolute_uri_file(config.store, base),
            "hold_out": hold_out.model_copy(update={"never_trained": never_trained}),
            "align": config.align.model_copy(update={"other_labels": _resolved(config.align.other_labels, base)}),
        }
    )


def _with_absolute_validation(promote: PromoteSettings, base: Path) -> PromoteSettings:
    gate = promote.validation
    if gate is None:
        return promote
    structures = tuple((base / file.expanduser()).resolve() for file in gate.structures)
    reference = (base / gate.reference.expanduser()).resolve()
    validation = gate.model_copy(update={"structures": structures, "reference": reference})
    return promote.model_copy(update={"validation": validation})


def _with_absolute_queue(step: Step, base: Path) -> Step:
    if step.queue is None or step.queue.queue_folder is None:
        return step
    folder = (base / step.queue.queue_folder.expanduser()).resolve()
    return step.model_copy(update={"queue": step.queue.model_copy(update={"queue_folder": folder})})


def absolute_label(label: LabelSettings, base: Path) -> LabelSettings:
    """Resolve the paths of a label block relative to the folder of its file."""
    return _with_absolute_engine(_with_absolute_queue(label, base), base)


def _with_absolute_engine(label: LabelSettings, base: Path) -> LabelSettings:
    """Resolve the folders in an engine's settings, such as its pseudopotentials."""
    paths = {key: (base / value.expanduser()).resolve() for key, value in label.engine if isinstance(value, Path)}
    return label.model_copy(update={"engine": label.engine.model_copy(update=paths)})


def _with_absolute_uri_file(store: StoreSettings, base: Path) -> StoreSettings:
    if store.uri_file is None:
        return store
    return store.model_copy(update={"uri_file": (base / store.uri_file.expanduser()).resolve()})


def _resolved(entries: tuple[OtherLabelsSettings, ...], base: Path) -> tuple[OtherLabelsSettings, ...]:
    def absolute(path: Path) -> Path:
        return (base / path.expanduser()).resolve()

    return tuple(
        entry.model_copy(
            update={"file": absolute(entry.file) if isinstance(entry.file, Path) else tuple(map(absolute, entry.file))}
        )
        for entry in entries
    )
