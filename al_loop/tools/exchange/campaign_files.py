"""A campaign's labels, frames and served committee as files: what ``al-loop export`` and ``import`` do."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.labels.names import given_keys
from al_loop.ledger import Ledger
from al_loop.ledger.campaign_lease import check_not_a_copy
from al_loop.ledger.identity import campaign_folder, existing_campaign
from al_loop.ledger.import_log import unfinished_imports
from al_loop.ledger.store import shared_server
from al_loop.records import Frame
from al_loop.tools.exchange.exporting import What, export_file, file_kind, named_roles
from al_loop.tools.exchange.importing import Imported, import_file
from al_loop.utils.paths import check_target
from committee.checks.compared_labels import MIN_FRAMES


def export_frames(
    config: Config,
    to: Path,
    what: What = "labels",
    *,
    rounds: Collection[int] | None = None,
    roles: Collection[str] | None = None,
) -> int:
    """Write a campaign's frames to a file, which appears once it is complete; return how many were written.

    Args:
        config: of the campaign.
        to: a file .extxyz, .xyz or .aselmdb; what was there is replaced.
        what: accepted labels, the gate's visits without labels, or both.
        rounds: of these only.
        roles: names of roles; of these only.

    Raises:
        InputError: no campaign, another ending, a place that cannot be written, no such role, or no such frames.
    """
    chosen = named_roles(roles)
    file_kind(to)  # refused before the database is opened
    check_target("--to", to)
    with existing_campaign(config, read_only=True) as ledger:
        return export_file(ledger, to, what, rounds, chosen)


def import_labels(
    config: Config,
    files: Sequence[Path],
    *,
    level: str | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    check: bool = True,
) -> Imported:
    """Take labels and suspect frames of files into a campaign: all of them, or none.

    Args:
        config: of the campaign.
        files: files, folders and patterns, see ``find_sources``.
        level: of the labels where a file does not say it: a fingerprint, or ``engine`` for that of ``label.engine``.
        energy_key: name of the energies, eV; given together with ``forces_key``.
        forces_key: name of the forces, eV/Å.
        stress_key: name of the stresses, eV/Å³.
        check: compare some labels with the foundation first.

    Raises:
        InputError: no campaign, a copy of its folder, or anything in the files that cannot be used; nothing was
            stored.
        CampaignError: the server refused something; nothing was stored.
    """
    if (energy_key or forces_key or stress_key) and not (energy_key and forces_key):
        raise InputError("--energy-key and --forces-key must be given together (and --stress-key for stresses)")
    with existing_campaign(config) as ledger:
        check_not_a_copy(ledger, campaign_folder(config), private=shared_server(config.store) is None)
        done = import_file(
            ledger,
            config,
            files,
            campaign_level=campaign_level(ledger),
            level=level,
            keys=given_keys(energy_key, forces_key, stress_key),
            check=foundation_check(config) if check else None,
        )
        notes = done.notes
        if check and 0 < done.labels < MIN_FRAMES:
            few = f"{done.labels} labels are too few to compare with the foundation, which takes {MIN_FRAMES}"
            notes += (f"{few}: their units, signs and order of atoms were not checked.",)
        return replace(done, notes=notes, unfinished=tuple(map(str, unfinished_imports(ledger))))


def campaign_level(ledger: Ledger) -> str:
    """Fingerprint of the level of theory of a campaign's labels."""
    return str((ledger.campaign_config() or {})["level_of_theory"]["fingerprint"])


def foundation_check(config: Config) -> Callable[[Sequence[Frame]], None]:
    """Return a check of labels against the foundation that raises for wrong units, signs or atom orders."""

    def check(sample: Sequence[Frame]) -> None:
        from al_loop.stages.train.alignment import label_mismatches
        from al_loop.stages.train.training_frame import training_frame
        from committee.backbones import load_backbone

        frames = [training_frame(frame) for frame in sample]
        wrong = label_mismatches(frames, load_backbone(config.foundation))
        if wrong:
            raise InputError(
                f"{' '.join(wrong)} Nothing was imported. Convert them to eV and eV/Å, or add --no-check if they are "
                "right"
            )

    return check


def export_served(config: Config, path: Path) -> None:
    """Write the committee that a campaign serves as a fairchem checkpoint.

    Raises:
        InputError: no campaign, nothing is served yet, a foundation that is not fairchem's, or a file that cannot be
            written.
    """
    check_target("--checkpoint", path)
    from al_loop.tools.open_model import open_served
    from committee.errors import CheckpointError
    from committee.export import export_fairchem

    try:
        export_fairchem(open_served(config).potential, path)
    except CheckpointError as error:
        raise InputError(str(error)) from error
