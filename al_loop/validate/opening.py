"""What a validation needs, from files, a campaign's config and words of the command line."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from al_loop.config.settings import LabelSettings
from al_loop.constraints.policy import Motion, check_followed
from al_loop.errors import InputError
from al_loop.files.labelled import LabelKeys
from al_loop.files.structures import EVERY_ELEMENT, read_structures
from al_loop.frames import plain_atoms
from al_loop.progress import Advance
from al_loop.validate.dataset_reference import DatasetReference
from al_loop.validate.reference import EngineReference, Reference, StoredReference
from committee.errors import StructureError
from committee.structures import check_structures


def named_structures(files: Sequence[Path]) -> dict[str, Atoms]:
    """Read all structures of some files, each under the stem of its file.

    Further structures of one file, or of a file of the same stem, get a number.

    Raises:
        InputError: a file that cannot be read, a structure that no model could be asked about, or constraints that
            nothing here can follow.
    """
    found: dict[str, Atoms] = {}
    for file in files:
        for index, atoms in enumerate(read_structures(file)):
            try:
                check_structures([atoms], EVERY_ELEMENT)
            except StructureError as error:
                raise InputError(f"{file}, structure {index}: it {error.reason}") from error
            check_followed(atoms, Motion.COMPARISON, f"{file}, structure {index},")
            found[_free_name(file.stem, found)] = plain_atoms(atoms)
    return found


def open_reference(
    path: Path | None, label: LabelSettings | None, folder: Path, advance: Advance, keys: LabelKeys | None = None
) -> Reference:
    """Open the reference.

    Args:
        path: ``validation-reference.json`` of an earlier validation, or labelled frames; not looked at with an engine.
        label: an engine, with its limits and retries.
        folder: where labels are kept.
        advance: called for each label.
        keys: names of the labels of labelled frames.

    Raises:
        InputError: none of these.
    """
    if label is not None:
        return EngineReference(label, folder, advance)
    if path is None:
        raise InputError(
            "--reference: missing; name an engine's YAML, labelled frames (.extxyz) or a validation-reference.json, "
            "or give --config of a campaign, whose engine is taken"
        )
    return StoredReference(path) if path.suffix == ".json" else DatasetReference(path, keys)


def _free_name(stem: str, taken: dict[str, Atoms]) -> str:
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
