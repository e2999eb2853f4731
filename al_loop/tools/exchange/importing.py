"""Import labels and frames from files into a campaign: either all of them or none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files.labels.isolated_atoms import AtomEnergies, is_isolated_atom
from al_loop.files.labels.names import LabelKeys
from al_loop.files.sources import Source, find_sources
from al_loop.frames.own_entries import NO_ENTRIES
from al_loop.ledger import Ledger
from al_loop.ledger.import_log import content_of, note_atom_energies, note_began, note_ended, unfinished_imports
from al_loop.ledger.prepared import Prepared, Spool, with_stress
from al_loop.records import Frame
from al_loop.tools.exchange.harvest import HARVEST_LIMIT, campaign_elements
from al_loop.tools.exchange.import_contents import FileContents, Repeats
from al_loop.tools.exchange.import_frames import REMEDY, Checks, checked_frames
from al_loop.utils.foreign_input import reading

SAMPLE: Final = 24  # labels that are compared with the foundation
ENGINE: Final = "engine"  # in place of a fingerprint: the level of the campaign's own engine
NOTHING: Final = "othing was imported"


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
        labels: frames in them that have a label.
        labels_new: of them, those that the campaign did not have.
        suspects: frames without a label.
        suspects_new: of them, those that were not harvested before.
        completes: names of files whose earlier import was interrupted.
        entries_left: number of frames already stored with other entries, which are kept.
        notes: what was merged, left out, set apart or passed over, in sentences for the user.
        unfinished: other imports into the campaign that have not ended, in sentences for the user.
    """

    labels: int
    labels_new: int
    suspects: int
    suspects_new: int
    completes: tuple[str, ...] = ()
    entries_left: int = 0
    notes: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


def import_file(
    ledger: Ledger,
    config: Config,
    paths: Path | Sequence[Path],
    *,
    campaign_level: str,
    level: str | None = None,
    keys: LabelKeys | None = None,
    check: Callable[[Sequence[Frame]], None] | None = None,
) -> Imported:
    """Import files: every document is built, checked and written to a temporary file before the first is stored.

    If the server refuses one, everything stored by this call is removed again. A killed import is listed by
    ``unfinished_imports``, and the same call completes it.

    Args:
        ledger: of the campaign.
        config: its configuration, for the elements it knows.
        paths: files, folders and patterns, see ``find_sources``.
        campaign_level: fingerprint of the campaign's level of theory.
        level: of the labels, if the file does not state it: a fingerprint, or ``engine``.
        keys: names of the labels in files of frames; by default see ``keys_of``.
        check: called with a sample of the labels before anything is stored; raises if they are wrong.

    Raises:
        InputError: anything in the files that cannot be used; nothing was stored.
        CampaignError: the server refused something.
    """
    elements = campaign_elements(ledger, config)
    checks = Checks(elements, campaign_level, campaign_level if level == ENGINE else level)
    with _or_nothing(), Spool() as spool:
        read = _read(ledger, paths, keys, checks, spool)
        _check_counts(ledger, read)
        repeats = read.contents.repeats(ledger, campaign_level)
        atoms = read.contents.atoms(ledger, config, campaign_level, elements)
        if check is not None and read.sample:
            check(read.sample)
        spool.rewind()
        return _stored(ledger, campaign_level, read, _once(spool, repeats), atoms, repeats.notes)


@dataclass(frozen=True)
class _Read:
    """Contents of the files.

    Attributes:
        counts: file -> how many frames in it have a label and have none.
        content: file -> SHA-256 of what stands in it.
        contents: frames to compare with each other and with the ledger.
        sample: a few labels, drawn at random.
        notes: sentences for the user.
    """

    counts: dict[Source, tuple[int, int]]
    content: dict[Source, str]
    contents: FileContents
    sample: list[Frame]
    notes: list[str]


@contextmanager
def _or_nothing() -> Iterator[None]:
    """Add to every error that nothing was imported."""
    try:
        yield
    except InputError as error:
        said = str(error)
        if NOTHING in said:
            raise
        raise InputError(f"{said.removesuffix('.')}. N{NOTHING}") from error


def _read(ledger: Ledger, paths: Path | Sequence[Path], keys: LabelKeys | None, checks: Checks, spool: Spool) -> _Read:
    """Prepare every frame of all files.

    Raises:
        InputError: a frame that cannot be read, used or stored, or a file that is written to meanwhile.
    """
    sources = find_sources(paths)
    read = _Read({}, {}, FileContents(), [], list(sources.notes))
    rng = np.random.default_rng(0)
    for source in sources.files:
        state = _state(source)
        with reading(source.path, "check that the file is there and that you may read it"):
            read.content[source] = content_of(source.path)
        labels = suspects = 0
        for frame in checked_frames(source, keys, checks, read.notes):
            if not _noted(frame, read, rng):
                continue
            labels, suspects = labels + (frame.label is not None), suspects + (frame.label is None)
            with reading(frame.where, REMEDY):
                spool.append(ledger.prepare_frame(frame, len(read.contents.labelled) - 1))
        if keys is not None and suspects and not labels:
            raise InputError(
                f"{source.path}: no frame holds {keys.energy!r} and {keys.forces!r}; correct --energy-key and "
                "--forces-key, or leave them out to import frames without labels"
            )
        read.counts[source] = labels, suspects
        if _state(source) != state:
            raise InputError(f"{source.path} changed while it was read; nothing was imported. Import it again")
    return read


def _noted(frame: Frame, read: _Read, rng: np.random.Generator) -> bool:
    """Record a frame for comparisons; False for an isolated atom, which is not stored."""
    contents = read.contents
    if frame.label is None:
        contents.suspects.add(frame.frame_id)
        return True
    label = replace(frame.label, message="")
    compared = replace(frame, label=label, entries=NO_ENTRIES, provenance={})  # all are in memory together
    if is_isolated_atom(frame.atoms, frame.where):
        contents.isolated.append(compared)
        return False
    contents.labelled.append(compared)
    place = int(rng.integers(len(contents.labelled)))
    if len(read.sample) < SAMPLE:
        read.sample.append(compared)
    elif place < SAMPLE:
        read.sample[place] = compared
    return True


def _state(source: Source) -> tuple[int, int] | None:
    """Modification time and size of a file; None if it does not exist."""
    try:
        found = source.path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _check_counts(ledger: Ledger, read: _Read) -> None:
    sources, contents = list(read.counts), read.contents
    named = str(sources[0].path) if len(sources) == 1 else f"{sources[0].path} and {len(sources) - 1} more files"
    if not (contents.labelled or contents.suspects or contents.isolated):
        raise InputError(f"no frames in {named}; nothing was imported. {' '.join(read.notes)}".rstrip())
    room = HARVEST_LIMIT - ledger.waiting().suspects
    if len(contents.suspects) <= room:
        return
    new = contents.suspects - ledger.harvested(contents.suspects)
    if len(new) > room:
        raise InputError(
            f"{named}: {len(new)} new frames without a label, and a campaign keeps at most {HARVEST_LIMIT} suspects "
            f"waiting ({max(room, 0)} more); give fewer, or run a round first"
        )


def _once(items: Iterator[Prepared] | Spool, repeats: Repeats) -> Iterator[Prepared]:
    """The frame to store for repeated frames, with the merged label."""
    for item in items:
        if item.where not in repeats.merged:
            yield item
        elif (merged := repeats.merged[item.where]) is not None:
            known = np.isfinite(merged.stress_eV_per_A3).all()
            yield with_stress(item, merged.stress_eV_per_A3 if known else None)


def _stored(
    ledger: Ledger, level: str, read: _Read, items: Iterator[Prepared], atoms: AtomEnergies, notes: tuple[str, ...]
) -> Imported:
    unfinished = {known.content for known in unfinished_imports(ledger)}
    labels, suspects = (sum(column) for column in zip(*read.counts.values(), strict=True))
    with ledger.all_or_nothing() as added:
        for source, count in read.counts.items():
            added.events.append(note_began(ledger, source.path, read.content[source], *count))
        noted = note_atom_energies(ledger, level, atoms.energies_eV, atoms.where)
        if noted is not None:
            added.events.append(noted)
        entries_left = ledger.store_prepared(items, added)
        for source, count in read.counts.items():
            message = f"{count[0]} labels, {count[1]} suspects"
            added.events.append(note_ended(ledger, source.path, read.content[source], message))
    return Imported(
        labels,
        added.new_labels,
        suspects,
        len(added.visits),
        tuple(source.path.name for source in read.counts if read.content[source] in unfinished),
        entries_left,
        (*read.notes, *atoms.notes, *notes),
    )
