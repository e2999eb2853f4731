"""What a campaign must have before it starts, and the settings that it must have kept when it resumes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.sources import find_sources
from al_loop.frames.plain_atoms import constraints_text
from al_loop.ledger.import_log import content_of
from al_loop.structures.systems import load_structures
from al_loop.tools.preflight.checks import check_elements, checked_engine
from al_loop.tools.preflight.label_notes import LabelCost, label_cost
from al_loop.utils.content_hash import content_id, frame_id
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from dft_interfaces.label import LevelOfTheory

# Beside the settings in the stored configuration.
FINGERPRINT, LEVEL = "foundation_fingerprint", "level_of_theory"
_LONGEST = 40  # letters of a value that is quoted

# Settings that may change between two runs of the same campaign, with all settings below them.
MAY_CHANGE = (
    "rounds",
    "threads",
    "align.accept_residual_spread_eV_per_atom",
    "align.on_unit_mismatch",
    "explore.temperatures_K",  # from the next round on, as the tolerance
    "gate.force_tolerance_eV_per_A",
    "label.engine.cores",
    "label.labels_per_job",
    "label.lease_s",
    "label.limits",
    "label.max_failed_fraction",
    "label.queue",
    "label.quorum",
    "label.retry",
    "label.workers",
    "promote.far_latent_distance",
    "promote.validation",
    "stop",
    "train.adapt",
    "validation",
    "watch",
)


@dataclass(frozen=True)
class Change:
    """One changed setting.

    Attributes:
        key: dotted path, for example ``systems[0].ensemble``.
        then: value when the campaign was started, or None if it was not set.
        now: present value.
    """

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        if "arguments" in self.key.split("."):  # a calculator's arguments may hold a token
            return self.key
        if isinstance(self.then, (dict, list)) or isinstance(self.now, (dict, list)):
            return self.key
        return f"{self.key} (was {_quoted(self.then)}, is {_quoted(self.now)})"

    @property
    def allowed(self) -> bool:
        """Whether a started campaign goes on with it."""
        return any(self.key == key or self.key.startswith(f"{key}.") for key in MAY_CHANGE)


@dataclass(frozen=True)
class Prepared:
    """Parts that must be available before anything is written; see ``stored_settings`` for the settings."""

    backbone: Backbone
    level: LevelOfTheory
    cost: LabelCost
    settings: dict[str, Any]


def prepare(config: Config) -> Prepared:
    """Check and load what a campaign needs: engine, elements, cores, queues and foundation.

    Raises:
        InputError, CommitteeError, DFTInterfaceError: a part is missing, or does not fit the others.
    """
    engine = checked_engine(config)
    backbone = load_backbone(config.foundation)
    check_elements(config, backbone.elements)
    settings = stored_settings(config, backbone.fingerprint, engine.level_of_theory)
    return Prepared(backbone, engine.level_of_theory, label_cost(config, engine), settings)


def stored_settings(config: Config, foundation_fingerprint: str, level: LevelOfTheory) -> dict[str, Any]:
    """Return the configuration without credentials and paths, with structures by their content hashes."""
    stored = config.model_dump(mode="json", exclude={"store", "folder"})
    stored[FINGERPRINT] = foundation_fingerprint
    stored[LEVEL] = {"fingerprint": level.fingerprint, "summary": f"{level.code}: {level.summary}"}
    for block, systems in (
        (stored["systems"], config.systems),
        (stored["hold_out"]["never_trained"], config.hold_out.never_trained),
    ):
        for entry, system in zip(block, systems, strict=True):
            entry["file"] = system.file.name
            structures = [structure.atoms for structure in load_structures(system)]
            entry["structures"] = [frame_id(atoms) for atoms in structures]
            entry["constraints"] = [content_id(constraints_text(atoms.constraints)) for atoms in structures]
            entry["masses"] = [content_id(atoms.get_masses().tolist()) for atoms in structures]
    for entry, other in zip(stored["align"]["other_labels"], config.align.other_labels, strict=True):
        sources = find_sources(other.paths).files
        entry["file"] = [source.path.name for source in sources]
        entry["content"] = content_id(*(content_of(source.path) for source in sources))
    return stored


def check_settings(config: Config, stored: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuse to resume a campaign if ``stored_settings`` gave something else when it was started.

    Raises:
        InputError: settings that must not change have changed, or the same engine is of another level of theory.
    """
    changed = [
        change
        for change in changes(stored, present)
        if not change.allowed and change.key.partition(".")[0] != LEVEL  # compared below, by its fingerprint alone
    ]
    if stored.get(FINGERPRINT) == present[FINGERPRINT]:  # the same foundation, possibly in another file
        changed = [change for change in changed if change.key.partition(".")[0] != "foundation"]
    if changed:
        raise InputError(
            f"The campaign {config.name} in {config.folder} was started with other settings: "
            f"{', '.join(map(str, changed))}. Set them back to resume it, or choose another folder to start anew."
        )
    if stored[LEVEL]["fingerprint"] != present[LEVEL]["fingerprint"]:
        then, now = (f"{one[LEVEL]['summary']} ({one[LEVEL]['fingerprint']})" for one in (stored, present))
        raise InputError(
            f"The labels of campaign {config.name} in {config.folder} are of another level of theory than the "
            f"engine gives now, with the same settings: {then} then, {now} now. "
            "Pseudopotentials, a model or the engine itself were exchanged: put them back to resume, or choose "
            "another folder to start anew."
        )


def changes(then: Any, now: Any, key: str = "") -> Iterator[Change]:
    """Yield the differences between two configurations given as plain JSON; ``key`` is their dotted path."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in sorted(then.keys() | now.keys()):
            yield from changes(then.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif _blocks(then) and _blocks(now) and len(then) == len(now):
        for index, (before, after) in enumerate(zip(then, now, strict=True)):
            yield from changes(before, after, f"{key}[{index}]")
    elif then != now:
        yield Change(key, then, now)


def _blocks(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _quoted(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
