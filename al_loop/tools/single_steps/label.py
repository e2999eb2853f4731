"""Label structures without a campaign: ``al_loop.label`` and ``al-loop label``."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from al_loop.config import Config
from al_loop.errors import CampaignError, InputError
from al_loop.files import aselmdb, extxyz
from al_loop.files.stated import as_stated
from al_loop.files.structures import read_structures
from al_loop.files.text.written_entries import read_entries
from al_loop.frames.own_entries import OwnEntries, check_entries
from al_loop.frames.plain_atoms import check_constraints, plain_atoms
from al_loop.records import Frame
from al_loop.stages.label.direct import Labeller
from al_loop.stages.label.quarantine import failure_in_words
from al_loop.structures.systems import system_symbols
from al_loop.tools.preflight.checks import systems_with_paths
from al_loop.tools.single_steps.arguments import EngineArgument, label_settings
from al_loop.utils.content_hash import frame_id
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source, check_target, writing
from al_loop.utils.progress import Advance, show_nothing
from committee.atomic_write import replacing_path
from dft_interfaces.engines.isolated_atoms import isolated_atom
from dft_interfaces.isolation.engine import IsolatedEngine
from dft_interfaces.jobs.retry import labelled_with_retries


@dataclass(frozen=True)
class LabelledStructures:
    """Result of labelling a file.

    Attributes:
        written: number of labels in the file.
        level_of_theory: of the labels, in words.
        cost_s: wall time of all calculations.
        failed: index of the structure in its file -> reason.
    """

    written: int
    level_of_theory: str
    cost_s: float
    failed: dict[int, str] = field(default_factory=dict)


def label(
    structures: str | Path, engine: EngineArgument, to: str | Path, *, advance: Advance = show_nothing
) -> LabelledStructures:
    """Label each structure of a file with an engine, on this machine, and write the labels as extended XYZ.

    Finished labels are kept in ``<to>-labels`` beside the result: the same call goes on where it was interrupted. The
    result has the keys that ``al-loop import`` and ``al-loop train`` read (``REF_``), and the structures' own entries
    of ``info`` and ``arrays``, but no earlier results and labels.

    Args:
        structures: a file that ASE reads, or .aselmdb; total charge (e) and spin multiplicity stand in its ``info`` as
            ``charge`` and ``spin``.
        engine: the YAML file of a campaign, of its label block or of an engine alone; or settings.
        to: the result, .extxyz: energy (eV), forces (eV/Å) and stress (eV/Å³). It appears once it is
            complete; structures without a label are left out.
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
    structures, to, settings = Path(structures), Path(to), label_settings(engine)
    _check_target(structures, to)
    frames, entries = _read(structures)
    with Labeller(settings, to.with_name(f"{to.stem}-labels")) as labeller:
        labeller.check_elements(frames)
        labels = labeller.label_all(frames, advance)
        level = labeller.level
    failed = {index: failure_in_words(label) for index, label in enumerate(labels) if label.energy_eV is None}
    if len(failed) == len(labels):
        raise CampaignError(
            f"{structures}: none of {len(labels)} structures has a label; the first failed with {failed[0]}"
        )
    stated: dict[str, Any] = {
        "engine": settings.engine.engine,
        "level": asdict(level),
        "level_of_theory": level.fingerprint,
    }
    written = [
        Frame(
            frame_id(atoms),
            atoms,
            label=label,
            entries=entries[index],
            provenance={**stated, "structure": index, "cost_s": label.cost_s},
        )
        for index, (atoms, label) in enumerate(zip(frames, labels, strict=True))
        if index not in failed
    ]
    with writing("--to", to), replacing_path(to) as part:
        extxyz.write_frames(part, written)
    return LabelledStructures(len(written), level.summary, sum(label.cost_s for label in labels), failed)


def _read(structures: Path) -> tuple[list[Atoms], list[OwnEntries]]:
    """Structures and their own entries, checked to be representable in the output."""
    frames, entries = [], []
    check_source(str(structures), structures, "name a file of structures")
    rows = structures.suffix == ".aselmdb"
    found = [atoms for atoms, _ in aselmdb.frames(structures)] if rows else read_structures(structures)
    for index, atoms in enumerate(found):
        where = f"{structures}, structure {index}"
        with reading(where, "correct it, or remove it"):
            if rows:
                as_stated(atoms, where)
            entries.append(read_entries(atoms, where))
            check_entries(entries[-1], where)
            check_constraints(atoms, where)
        frames.append(plain_atoms(atoms))
    return frames, entries


def _check_target(structures: Path, to: Path) -> None:
    if to.suffix not in (".extxyz", ".xyz"):
        raise InputError(f"--to: received {to}, expected a name that ends in .extxyz or .xyz")
    check_target("--to", to, [structures])


def isolated_atom_energies_eV(config: Config) -> dict[str, float]:
    """Return the total energy of one atom of each element in all structures, eV.

    Raises:
        CampaignError: naming the atoms that gave no label and why.
        EngineNotInstalledError: the engine is missing.
    """
    label = config.label
    symbols = {symbol for _, system in systems_with_paths(config) for symbol in system_symbols(system)}
    with IsolatedEngine(label.engine, label.limits) as engine:
        labels = {
            symbol: labelled_with_retries(engine, isolated_atom(symbol, label.engine), label.retry)
            for symbol in sorted(symbols)
        }
    failed = [f"{symbol} ({failure_in_words(found)})" for symbol, found in labels.items() if found.energy_eV is None]
    if failed:
        raise CampaignError(f"No energy for {'; '.join(failed)}")
    return {symbol: found.energy_eV for symbol, found in labels.items() if found.energy_eV is not None}
