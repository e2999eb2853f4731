"""Inputs of a validation, from files, a campaign's config and command-line arguments."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from al_loop.config.settings import LabelSettings
from al_loop.errors import InputError
from al_loop.files.labels.names import LabelKeys
from al_loop.files.readers.formats import recognised
from al_loop.files.structures import EVERY_ELEMENT, read_structures
from al_loop.frames.constraints.policy import Motion, check_followed
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.tools.validation.dataset_reference import DatasetReference
from al_loop.tools.validation.reference import EngineReference, Reference, StoredReference
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import check_source, printable
from al_loop.utils.progress import Advance
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess


def named_structures(files: Sequence[Path]) -> dict[str, Atoms]:
    """Read all structures of some files, each under the stem of its file.

    Further structures of one file, or of a file of the same stem, get a number.

    Raises:
        InputError: a file that cannot be read, a structure beyond ``dft_interfaces.bounds`` or that no model
            could be asked about, or constraints that nothing here can follow.
    """
    found: dict[str, Atoms] = {}
    for file in files:
        for index, atoms in enumerate(read_structures(file)):
            if excess := structure_excess(atoms):
                raise InputError(f"{file}, structure {index}: {excess}; correct the number or its unit")
            try:
                check_structures([atoms], EVERY_ELEMENT)
            except StructureError as error:
                raise InputError(f"{file}, structure {index}: it {error.reason}") from error
            check_followed(atoms, Motion.COMPARISON, f"{file}, structure {index},")
            found[_free_name(printable(file.stem), found)] = plain_atoms(atoms)
    return found


def open_reference(
    paths: Sequence[Path], label: LabelSettings | None, folder: Path, advance: Advance, keys: LabelKeys | None = None
) -> Reference:
    """Open the reference.

    Args:
        paths: ``validation-reference.json`` of an earlier validation, or labelled frames (see ``find_sources``); not
            looked at with an engine.
        label: an engine, with its limits and retries.
        folder: where labels are kept.
        advance: called for each label.
        keys: names of the labels of labelled frames.

    Raises:
        InputError: none of these.
    """
    if label is not None:
        return EngineReference(label, folder, advance)
    if not paths:
        raise InputError(
            "--reference: missing; name an engine's YAML, labelled frames or a validation-reference.json, "
            "or give --config of a campaign, whose engine is taken"
        )
    if len(paths) == 1 and paths[0].suffix == ".json" and not _is_database(paths[0]):
        return StoredReference(paths[0])
    return DatasetReference(paths, keys)


def _is_database(path: Path) -> bool:
    """Whether it is a database of ASE in JSON."""
    check_source(f"reference {path}", path, "name a file that you may read")
    with reading(f"reference {path}", "name a file that you may read"):
        return recognised(path) == "json"


def _free_name(stem: str, taken: dict[str, Atoms]) -> str:
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
