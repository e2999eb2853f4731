"""A campaign's level of theory, foundation check and served committee."""

from collections.abc import Callable, Sequence
from pathlib import Path

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.ledger import Ledger
from al_loop.records import Frame
from al_loop.utils.paths import check_target


def campaign_level(ledger: Ledger) -> str:
    """Fingerprint of the level of theory of a campaign's labels."""
    return str((ledger.campaign_config() or {})["level_of_theory"]["fingerprint"])


def foundation_check(config: Config) -> Callable[[Sequence[Frame]], None]:
    """Return a check of labels against the foundation that raises for wrong units, signs or atom orders."""

    def check(sample: Sequence[Frame]) -> None:
        from al_loop.stages.train.alignment import label_slips
        from al_loop.stages.train.training_frame import training_frame
        from committee.backbones import load_backbone

        frames = [training_frame(frame) for frame in sample]
        slips = label_slips(frames, load_backbone(config.foundation))
        if slips:
            raise InputError(
                f"{' '.join(slips)} Nothing was imported. Convert them to eV and eV/Å, or add --no-check if they are "
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
