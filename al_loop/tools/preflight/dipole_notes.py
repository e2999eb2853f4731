"""Notes of check-config on slabs with a dipole: a correction that would help, or one without effect."""

from collections.abc import Iterator

from ase import Atoms

from al_loop.config import Config
from al_loop.structures.systems import load_structures
from al_loop.tools.preflight.checks import systems_with_paths
from al_loop.tools.preflight.explore_checks import built_structures
from dft_interfaces.geometry.slab import correction_problem, faces_differ, slab_of
from dft_interfaces.settings.crystals import PeriodicEngineSettings


def dipole_notes(config: Config) -> Iterator[str]:
    """Yield one sentence for each slab with unlike faces that is labelled without a dipole correction.

    With the correction, yield one for each structure that has vacuum and is no slab, which it does not act on. Engines
    without the setting get no sentence.

    Args:
        config: as ``load_config`` returns it (structure paths absolute).
    """
    engine = config.label.engine
    if not isinstance(engine, PeriodicEngineSettings):
        return
    for dotted, system in systems_with_paths(config):
        structures = load_structures(system)
        built = [one for structure in structures for one in built_structures(dotted, system, structure)[0]]
        found: dict[str, str] = {}  # strained and rattled copies of one slab need no sentence each
        for where, atoms in built:
            note = engine.slab_remark(atoms) if slab_of(atoms) is None else ""
            note = note or ("" if engine.corrects_dipoles else _suggestion(atoms))
            if note:
                found.setdefault(note, f"{where}: {atoms.get_chemical_formula()} {note}")
        yield from found.values()


def _suggestion(atoms: Atoms) -> str:
    slab = slab_of(atoms)
    if slab is None or not faces_differ(atoms, slab):
        return ""
    problem = correction_problem(atoms, slab)
    before = "" if problem is None else f". This structure would be refused: {problem}"
    return (
        "is a slab whose two faces differ, so that the field of its dipole reaches across the vacuum along "
        f"{'abc'[slab.axis]} to its periodic images; consider label.engine.dipole_correction: true, another level of "
        f"theory{before}"
    )
