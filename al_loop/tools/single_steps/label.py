"""Label structures without a campaign: ``al_loop.label`` and ``al-loop label``."""

from pathlib import Path

from al_loop.tools.label_file import LabelledStructures, label_structures
from al_loop.tools.single_steps.engine_argument import EngineArgument, label_settings
from al_loop.utils.progress import Advance, show_nothing


def label(
    structures: str | Path, engine: EngineArgument, to: str | Path, *, advance: Advance = show_nothing
) -> LabelledStructures:
    """Label each structure of a file with an engine, on this machine, and write the labels as extended XYZ.

    Finished labels are kept in ``<to>-labels`` beside the result: the same call goes on where it was interrupted.

    Args:
        structures: a file that ASE reads, or .aselmdb; total charge (e) and spin multiplicity stand in its ``info`` as
            ``charge`` and ``spin``.
        engine: the YAML file of a campaign, of its label block or of an engine alone; or settings.
        to: the result, .extxyz: energy (eV), forces (eV/Å) and stress (eV/Å³) under ``REF_`` names. Structures without
            a label are left out.
        advance: called with the number of structures that ended.

    Returns:
        How many labels were written, and why the others are missing.

    Raises:
        InputError: a file that cannot be read or written, elements that the engine does not know, or a queue.
        EngineNotInstalledError: the engine's library is missing.
        EngineSettingsError: settings that the engine cannot carry out.
        CampaignError: not one label, with the first reason.

    Examples:
        ``engine.yaml`` holds ``engine: ase`` and ``calculator: ase.calculators.emt.EMT``:

        >>> from al_loop import label
        >>> done = label("structures.extxyz", "engine.yaml", to="fresh.extxyz")
        >>> done.written, done.failed
        (3, {})
    """
    return label_structures(Path(structures), label_settings(engine), Path(to), advance)
