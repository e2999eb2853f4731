"""A campaign's level of theory, foundation check and served committee."""

from collections.abc import Callable, Sequence
from pathlib import Path

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.record import Record
from al_loop.ledger import Ledger
from al_loop.utils.paths import check_target


def campaign_level(ledger: Ledger, config: Config) -> str:
    """Fingerprint of the level of theory of a campaign's labels.

    Raises:
        EngineNotInstalledError: a campaign of an earlier version, whose engine is not installed here.
    """
    stored = (ledger.campaign_config() or {}).get("level_of_theory")
    if isinstance(stored, dict) and "fingerprint" in stored:
        return str(stored["fingerprint"])
    from dft_interfaces.engines import build_engine

    return build_engine(config.label.engine).level_of_theory.fingerprint


def foundation_check(config: Config) -> Callable[[Sequence[Record]], None]:
    """Return a check of labels against the foundation that raises for wrong units, signs or atom orders."""

    def check(sample: Sequence[Record]) -> None:
        from al_loop.stages.train.alignment import label_mismatches
        from committee.backbones import load_backbone
        from committee.training.train import TrainingFrame

        frames = [
            TrainingFrame(
                id=str(index),
                atoms=record.atoms,
                energy_eV=record.label.energy_eV,
                forces_eV_per_A=record.label.forces_eV_per_A,
                stress_eV_per_A3=record.label.stress_eV_per_A3,
            )
            for index, record in enumerate(sample)
            if record.label is not None and record.label.energy_eV is not None
        ]
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
