"""Labels and frames from files into a campaign: all of them, or none and one message."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.extxyz import MAGMOMS
from al_loop.files.import_contents import FileContents, Repeats, labelled_atoms
from al_loop.files.import_notes import content_of, note_began, note_ended, unfinished_imports
from al_loop.files.imported_atoms import note_atom_energies
from al_loop.files.isolated_atoms import is_bare_nucleus, is_isolated_atom
from al_loop.files.label_names import LabelKeys
from al_loop.files.labelled import LabelledAtoms, labelled_frames
from al_loop.files.record import Record, as_remark
from al_loop.files.sources import Source, find_sources, trajectory_name
from al_loop.files.written_entries import read_entries
from al_loop.frames import check_constraints, plain_atoms
from al_loop.harvest import HARVEST_LIMIT, add_suspects, as_visit, campaign_elements
from al_loop.ids import frame_id
from al_loop.ledger import Ledger
from al_loop.ledger.base import chunks
from al_loop.own_entries import entries_as_text
from al_loop.records import Lane, Role, Verdict, VerdictKind, Visit
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import defect
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

BLOCK: Final = 500
SAMPLE: Final = 24  # labels that are compared with the foundation
ENGINE: Final = "engine"  # in place of a fingerprint: the level of the campaign's own engine
REASON: Final = "imported without a label"


@dataclass(frozen=True)
class Imported:
    """What came of some files.

    Attributes:
        labels: frames in them that have a label.
        labels_new: of them, those that the campaign did not have.
        suspects: frames without a label.
        suspects_new: of them, those that were not harvested before.
        completes: names of files whose earlier import had been cut off.
        entries_left: frames that the campaign's database knew with other own entries, which stay as they were.
        notes: what was merged, left out, set apart or passed over, in sentences for the user.
    """

    labels: int
    labels_new: int
    suspects: int
    suspects_new: int
    completes: tuple[str, ...] = ()
    entries_left: int = 0
    notes: tuple[str, ...] = ()


def import_file(
    ledger: Ledger,
    config: Config,
    paths: Path | Sequence[Path],
    *,
    campaign_level: str,
    level: str | None = None,
    keys: LabelKeys | None = None,
    check: Callable[[Sequence[Record]], None] | None = None,
) -> Imported:
    """Read files twice: the first time everything is checked, the second time it is stored.

    Storing is not one transaction. One that was killed is told by ``unfinished_imports``, and the same call
    completes it: what is stored is found again and changes nothing.

    Args:
        ledger: of the campaign.
        config: its configuration, for the elements it knows.
        paths: files, folders and patterns, see ``find_sources``.
        campaign_level: fingerprint of the campaign's level of theory.
        level: of the labels where the file does not say it: a fingerprint, or ``engine``.
        keys: names of the labels in files of frames; by default see ``keys_of``.
        check: looks at some of the labels before anything is stored, and raises if they are wrong.

    Raises:
        InputError: anything in the files that cannot be used; nothing was stored.
    """
    elements = campaign_elements(ledger, config)
    checks = _Checks(elements, campaign_level, campaign_level if level == ENGINE else level)
    sources = find_sources(paths)
    notes = list(sources.notes)
    before = {source: _state(source) for source in sources.files}
    contents = FileContents()
    samples, counts = zip(
        *(_looked_through(_frames(s, keys, checks, notes), contents) for s in sources.files), strict=True
    )
    _check_counts(sources.files, counts, contents, notes, HARVEST_LIMIT - ledger.waiting().suspects)
    repeats = contents.repeats(ledger, campaign_level)
    atoms = contents.atoms(ledger, config, campaign_level, elements)
    sample = list(chain.from_iterable(samples))
    if check is not None and sample:
        chosen = np.random.default_rng(0).permutation(len(sample))[:SAMPLE]
        check([sample[index] for index in chosen])
    for source, state in before.items():
        if _state(source) != state:
            raise InputError(f"{source.path} was changed while it was read; nothing was imported. Import it again")
    note_atom_energies(ledger, campaign_level, atoms.energies_eV, atoms.where)
    records = {source: _once(_frames(source, keys, checks, []), repeats) for source in sources.files}
    return _stored(ledger, records, counts, (*notes, *atoms.notes, *repeats.notes))


def _state(source: Source) -> tuple[int, int]:
    """When the file was changed, and its size."""
    found = source.path.stat()
    return found.st_mtime_ns, found.st_size


def _check_counts(
    sources: Sequence[Source], counts: Sequence[tuple[int, int]], contents: FileContents, notes: list[str], room: int
) -> None:
    labels, bare = (sum(column) for column in zip(*counts, strict=True))
    named = str(sources[0].path) if len(sources) == 1 else f"{sources[0].path} and {len(sources) - 1} more files"
    if labels + bare + len(contents.isolated) == 0:
        raise InputError(f"no frames in {named}; nothing was imported. {' '.join(notes)}".rstrip())
    if bare > room:
        raise InputError(
            f"{named}: {bare} frames without a label, and a campaign keeps at most {HARVEST_LIMIT} suspects "
            f"waiting ({max(room, 0)} more); give fewer, or run a round first. Nothing was imported"
        )


@dataclass(frozen=True)
class _Frame:
    where: str
    record: Record
    isolated: bool = False


def _looked_through(frames: Iterator[_Frame], contents: FileContents) -> tuple[list[Record], tuple[int, int]]:
    """A random sample of the labelled records, and how many have a label and have none; ``contents`` gets all."""
    rng = np.random.default_rng(0)
    sample: list[Record] = []
    labelled = bare = 0
    for frame in frames:
        record = frame.record
        if record.label is None:
            bare += 1
            continue
        found = labelled_atoms(frame.where, record.atoms, record.label)
        if frame.isolated:
            contents.isolated.append(found)
            continue
        contents.labelled.append(found)
        labelled += 1
        place = int(rng.integers(labelled))
        if len(sample) < SAMPLE:
            sample.append(record)
        elif place < SAMPLE:
            sample[place] = record
    return sample, (labelled, bare)


def _once(frames: Iterator[_Frame], repeats: Repeats) -> Iterator[Record]:
    """The records to store: no isolated atoms, and of repeated frames one."""
    for frame in frames:
        if frame.isolated:
            continue
        if frame.where not in repeats.merged:
            yield frame.record
        elif (merged := repeats.merged[frame.where]) is not None and frame.record.label is not None:
            stress = merged.stress_eV_per_A3 if np.isfinite(merged.stress_eV_per_A3).all() else None
            yield replace(frame.record, label=replace(frame.record.label, stress_eV_per_A3=stress))


def _stored(
    ledger: Ledger,
    records: dict[Source, Iterator[Record]],
    counts: Sequence[tuple[int, int]],
    notes: tuple[str, ...],
) -> Imported:
    content = {source: content_of(source.path) for source in records}
    unfinished = {known.content for known in unfinished_imports(ledger)}
    for source, count in zip(records, counts, strict=True):
        note_began(ledger, source.path, content[source], *count)
    labels = suspects = labels_new = suspects_new = entries_left = 0
    for (source, found), count in zip(records.items(), counts, strict=True):
        new = _store(ledger, source, found)
        message = f"{count[0]} labels ({new[0]} new), {count[1]} suspects ({new[1]} new)"
        note_ended(ledger, source.path, content[source], message)
        labels, suspects = labels + count[0], suspects + count[1]
        labels_new, suspects_new, entries_left = labels_new + new[0], suspects_new + new[1], entries_left + new[2]
    completes = tuple(source.path.name for source in records if content[source] in unfinished)
    return Imported(labels, labels_new, suspects, suspects_new, completes, entries_left, notes)


def _store(ledger: Ledger, source: Source, records: Iterator[Record]) -> tuple[int, int, int]:
    """Store the frames of one file; returns the numbers of new labels, of new suspects and of entries not taken."""
    labels = suspects = entries_left = 0
    for block in chunks(records, BLOCK):
        entries_left += _with_other_entries(ledger, block)
        given = [(_visit(source, record), record.label) for record in block if record.label is not None]
        if given:
            labels += ledger.add_labels([visit for visit, _ in given], [label for _, label in given])
        bare = {visit.frame_id: visit for visit in (_suspect(source, r) for r in block if r.label is None)}
        suspects += add_suspects(ledger, list(bare.values()))
    return labels, suspects, entries_left


def _with_other_entries(ledger: Ledger, block: Sequence[Record]) -> int:
    """How many frames are stored already, in this order of atoms or another, with other entries than the file's."""
    given = {frame_id(record.atoms): record.entries for record in block if record.entries}
    stored = ledger.entries(given)
    return sum(entries_as_text(stored[key]) != entries_as_text(given[key]) for key in stored)


@dataclass(frozen=True)
class _Checks:
    elements: frozenset[int]
    campaign_level: str
    stated: str | None

    def structure(self, where: str, atoms: Atoms, *, isolated: bool) -> None:
        try:
            check_structures([atoms], frozenset(atoms.numbers.tolist()) if isolated else self.elements)
            if not np.isfinite(atoms.get_initial_magnetic_moments()).all():
                raise StructureError("has initial magnetic moments that are not finite", None)
            if not (isolated and is_bare_nucleus(atoms, where)):
                charge_and_multiplicity(atoms)
        except StructureError as error:
            raise InputError(f"{where} {error.reason} Nothing was imported") from error
        except CannotCalculateError as error:
            raise InputError(f"{where}: {error}. Nothing was imported") from error

    def level(self, where: str, known: dict[str, Any]) -> str:
        found = known.get("level_of_theory", self.stated)
        if found is None:
            raise InputError(
                f"{where} has a label, and nothing says of which level of theory. If it was made as label.engine of "
                f"the config says, add --level engine (that is --level {self.campaign_level}). Nothing was imported"
            )
        if found != self.campaign_level:
            raise InputError(
                f"{where} has a label of level of theory {found!r}, and the campaign's is {self.campaign_level}; "
                "levels never mix. Give the file as align.other_labels, which joins it with reference shifts of its "
                "own. Nothing was imported"
            )
        return str(found)


def _frames(source: Source, keys: LabelKeys | None, checks: _Checks, notes: list[str]) -> Iterator[_Frame]:
    """Every frame of a file, checked."""
    frames = labelled_frames(source, keys, notes)
    own_names = () if keys is None else (keys.energy, keys.forces, keys.stress)
    while True:
        try:
            found = next(frames, None)
            if found is None:
                return
            isolated = is_isolated_atom(found.atoms, found.where) and bool(np.isfinite(found.energy_eV))
            entries = read_entries(found.atoms, found.where, own_names)
            check_constraints(found.atoms, found.where)
        except InputError as error:
            raise InputError(f"{error}. Nothing was imported") from error
        plain = plain_atoms(found.atoms)
        checks.structure(found.where, plain, isolated=isolated)
        label = _label(source, found, plain, checks, isolated=isolated)
        yield _Frame(found.where, Record(plain, label, found.provenance, entries), isolated)


def _label(source: Source, found: LabelledAtoms, plain: Atoms, checks: _Checks, *, isolated: bool) -> Label | None:
    where, known = found.where, found.provenance
    has_energy, has_forces = np.isfinite(found.energy_eV), np.isfinite(found.forces_eV_per_A).all()
    if isolated:
        return Label(LabelStatus.CONVERGED, checks.level(where, known), found.energy_eV)
    if not (has_energy or has_forces):
        if known.get("level_of_theory") is not None:
            raise InputError(f"{where} says it is labelled and has no energy and no forces; nothing was imported")
        return None
    if not (has_energy and has_forces):
        raise InputError(
            f"{where} has {'an energy' if has_energy else 'forces'} and no {'forces' if has_energy else 'energy'}; a "
            "label of a campaign needs both (their names are those of --energy-key and --forces-key). Leave the frame "
            "out, or give the file as align.other_labels or to al-loop train, where what a frame lacks has no weight "
            "in the fit. Nothing was imported"
        )
    label = Label(
        LabelStatus.CONVERGED,
        checks.level(where, known),
        found.energy_eV,
        found.forces_eV_per_A,
        found.stress_eV_per_A3 if np.isfinite(found.stress_eV_per_A3).all() else None,
        cost_s=_cost(known),
        message=as_remark({"file": source.path.name, **known})[:MESSAGE_CHARACTERS],
        magnetic_moments_uB=_moments(found.atoms),
    )
    wrong = defect(label, plain, checks.campaign_level)
    if wrong is not None:
        raise InputError(f"{where}: {wrong.reason}. Nothing was imported")
    return label


def _moments(atoms: Atoms) -> NDArray[np.float64] | None:
    """Moments that were calculated, not those to start from."""
    places = (atoms.arrays.get(MAGMOMS), atoms.arrays.get("magmoms"), getattr(atoms.calc, "results", {}).get("magmoms"))
    found = next((moments for moments in places if moments is not None), None)
    return None if found is None else np.asarray(found, float)


MESSAGE_CHARACTERS: Final = 20_000


def _cost(known: dict[str, Any]) -> float:
    cost = known.get("cost_s")
    return float(cost) if isinstance(cost, int | float) and np.isfinite(cost) and cost >= 0 else 0.0


def _trajectory(source: Source, known: dict[str, Any]) -> str:
    """Which trajectory a frame belongs to: neighbours in time are held back from a fit together."""
    former, name = known.get("trajectory"), trajectory_name(source)
    return f"import/{name}/{former[:200]}" if isinstance(former, str) else f"import/{name}"


def _system(known: dict[str, Any]) -> str:
    system = known.get("system")
    return system[:200] if isinstance(system, str) and system else "imported"


def _visit(source: Source, record: Record) -> Visit:
    known = dict(record.provenance)
    return Visit(
        frame_id=frame_id(record.atoms),
        atoms=record.atoms,
        role=Role.EXPLORE,
        system=_system(known),
        trajectory=_trajectory(source, known),
        step=0,
        temperature_K=0.0,
        verdict=Verdict(VerdictKind.SUSPECT, Lane.NONE, "imported with its label"),
        entries=record.entries,
    )


def _suspect(source: Source, record: Record) -> Visit:
    known = dict(record.provenance)
    verdict = known.get("verdict")
    reason = verdict.get("reason") if isinstance(verdict, dict) else None
    told = reason if isinstance(reason, str) and reason else REASON
    return as_visit(record.atoms, told, _trajectory(source, known), _system(known), record.entries)
