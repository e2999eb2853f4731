"""Labels and frames from a file into a campaign: all of them, or none and one message."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from al_loop.config import Config
from al_loop.errors import InputError
from al_loop.files import aselmdb, extxyz
from al_loop.files.exporting import file_kind
from al_loop.files.import_notes import content_of, note_began, note_ended, unfinished_imports
from al_loop.files.labelled import LabelKeys, labelled_frame
from al_loop.files.record import Record, as_remark
from al_loop.frames import plain_atoms
from al_loop.harvest import HARVEST_LIMIT, add_suspects, as_visit, campaign_elements
from al_loop.ids import frame_id
from al_loop.ledger import Ledger
from al_loop.ledger.base import chunks
from al_loop.records import Lane, Role, Verdict, VerdictKind, Visit
from committee.errors import StructureError
from committee.structures import check_structures
from dft_interfaces.bounds import structure_excess
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_check import defect
from dft_interfaces.structure import CannotCalculateError, charge_and_multiplicity

BLOCK: Final = 500
SAMPLE: Final = 24  # labels that are compared with the foundation
ENGINE: Final = "engine"  # in place of a fingerprint: the level of the campaign's own engine
REASON: Final = "imported without a label"


@dataclass(frozen=True)
class Imported:
    """What came of a file.

    Attributes:
        labels: frames in the file that have a label.
        labels_new: of them, those that the campaign did not have.
        suspects: frames without a label.
        suspects_new: of them, those that were not harvested before.
        completes: an earlier import of the same file had been cut off.
    """

    labels: int
    labels_new: int
    suspects: int
    suspects_new: int
    completes: bool = False


def import_file(
    ledger: Ledger,
    config: Config,
    path: Path,
    *,
    campaign_level: str,
    level: str | None = None,
    keys: LabelKeys | None = None,
    check: Callable[[Sequence[Record]], None] | None = None,
) -> Imported:
    """Read a file twice: the first time everything is checked, the second time it is stored.

    Storing it is not one transaction. One that was killed is told by ``unfinished_imports``, and the same call
    completes it: what is stored is found again and changes nothing.

    Args:
        ledger: of the campaign.
        config: its configuration, for the elements it knows.
        path: ``.extxyz``, ``.xyz`` or ``.aselmdb``.
        campaign_level: fingerprint of the campaign's level of theory.
        level: of the labels where the file does not say it: a fingerprint, or ``engine``.
        keys: names of the labels; by default those that ``al-loop export`` writes.
        check: looks at some of the labels before anything is stored, and raises if they are wrong.

    Raises:
        InputError: anything in the file that cannot be used; nothing was stored.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; name one that ends in .extxyz, .xyz or .aselmdb")
    stated = campaign_level if level == ENGINE else level

    def read() -> Iterator[Record]:
        return _records(path, keys, _Checks(campaign_elements(ledger, config), campaign_level, stated))

    before = path.stat()
    sample, counts = _looked_through(read())
    if counts[0] + counts[1] == 0:
        raise InputError(f"{path} holds no frames; nothing was imported")
    room = HARVEST_LIMIT - ledger.waiting().suspects
    if counts[1] > room:
        raise InputError(
            f"{path} holds {counts[1]} frames without a label, and a campaign keeps at most {HARVEST_LIMIT} suspects "
            f"waiting ({max(room, 0)} more); give fewer, or run a round first. Nothing was imported"
        )
    if check is not None and sample:
        check(sample)
    if (path.stat().st_mtime_ns, path.stat().st_size) != (before.st_mtime_ns, before.st_size):
        raise InputError(f"{path} was changed while it was read; nothing was imported. Import it again")
    return _stored(ledger, path, read(), counts)


def _looked_through(records: Iterator[Record]) -> tuple[list[Record], tuple[int, int]]:
    """A random sample of the labelled records, and how many have a label and have none."""
    rng = np.random.default_rng(0)
    sample: list[Record] = []
    labelled = bare = 0
    for record in records:
        if record.label is None:
            bare += 1
            continue
        labelled += 1
        place = int(rng.integers(labelled))
        if len(sample) < SAMPLE:
            sample.append(record)
        elif place < SAMPLE:
            sample[place] = record
    return sample, (labelled, bare)


def _stored(ledger: Ledger, path: Path, records: Iterator[Record], counts: tuple[int, int]) -> Imported:
    content = content_of(path)
    completes = content in {known.content for known in unfinished_imports(ledger)}
    note_began(ledger, path, content, *counts)
    labels_new = suspects_new = 0
    for block in chunks(records, BLOCK):
        given = [(_visit(path, record), record.label) for record in block if record.label is not None]
        if given:
            labels_new += ledger.add_labels([visit for visit, _ in given], [label for _, label in given])
        bare = {visit.frame_id: visit for visit in (_suspect(path, r) for r in block if r.label is None)}
        suspects_new += add_suspects(ledger, list(bare.values()))
    done = Imported(counts[0], labels_new, counts[1], suspects_new, completes)
    message = f"{done.labels} labels ({labels_new} new), {done.suspects} suspects ({suspects_new} new)"
    note_ended(ledger, path, content, message)
    return done


@dataclass(frozen=True)
class _Checks:
    elements: frozenset[int]
    campaign_level: str
    stated: str | None

    def structure(self, where: str, atoms: Atoms) -> None:
        excess = structure_excess(atoms)
        if excess:
            raise InputError(f"{where}: {excess}. Nothing was imported")
        try:
            check_structures([atoms], self.elements)
            if not np.isfinite(atoms.get_initial_magnetic_moments()).all():
                raise StructureError("has initial magnetic moments that are not finite", None)
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


def _records(path: Path, keys: LabelKeys | None, checks: _Checks) -> Iterator[Record]:
    """Every frame of a file, checked."""
    lmdb = file_kind(path) == "aselmdb"
    keys = keys or (LabelKeys("energy", "forces", "stress") if lmdb else LabelKeys())
    moments = "magmoms" if lmdb else extxyz.MAGMOMS
    for index, (atoms, known) in enumerate(aselmdb.frames(path) if lmdb else extxyz.frames(path)):
        where = f"{path}, frame {index}"
        checks.structure(where, atoms)
        found = labelled_frame(path, index, atoms, keys)
        has_energy, has_forces = np.isfinite(found.energy_eV), np.isfinite(found.forces_eV_per_A).all()
        plain = plain_atoms(atoms)
        if not (has_energy or has_forces):
            if known.get("level_of_theory") is not None:
                raise InputError(f"{where} says it is labelled and has no {keys.energy}; nothing was imported")
            yield Record(plain, None, known)
            continue
        if not (has_energy and has_forces):
            raise InputError(
                f"{where} has {'an energy' if has_energy else 'forces'} and no {'forces' if has_energy else 'energy'} "
                f"under the name {keys.forces if has_energy else keys.energy!r}; a label needs both. "
                "Nothing was imported"
            )
        label = Label(
            LabelStatus.CONVERGED,
            checks.level(where, known),
            found.energy_eV,
            found.forces_eV_per_A,
            found.stress_eV_per_A3 if np.isfinite(found.stress_eV_per_A3).all() else None,
            cost_s=_cost(known),
            message=as_remark({"file": path.name, **known})[:MESSAGE_CHARACTERS],
            magnetic_moments_uB=None if moments not in atoms.arrays else np.asarray(atoms.arrays[moments], float),
        )
        wrong = defect(label, plain, checks.campaign_level)
        if wrong is not None:
            raise InputError(f"{where}: {wrong.reason}. Nothing was imported")
        yield Record(plain, label, known)


MESSAGE_CHARACTERS: Final = 20_000


def _cost(known: dict[str, Any]) -> float:
    cost = known.get("cost_s")
    return float(cost) if isinstance(cost, int | float) and np.isfinite(cost) and cost >= 0 else 0.0


def _source(path: Path, known: dict[str, Any]) -> str:
    """Which trajectory a frame belongs to: neighbours in time are held back from a fit together."""
    former = known.get("trajectory")
    return f"import/{path.stem}/{former[:200]}" if isinstance(former, str) else f"import/{path.stem}"


def _system(known: dict[str, Any]) -> str:
    system = known.get("system")
    return system[:200] if isinstance(system, str) and system else "imported"


def _visit(path: Path, record: Record) -> Visit:
    known = dict(record.provenance)
    return Visit(
        frame_id=frame_id(record.atoms),
        atoms=record.atoms,
        role=Role.EXPLORE,
        system=_system(known),
        trajectory=_source(path, known),
        step=0,
        temperature_K=0.0,
        verdict=Verdict(VerdictKind.SUSPECT, Lane.NONE, "imported with its label"),
    )


def _suspect(path: Path, record: Record) -> Visit:
    known = dict(record.provenance)
    verdict = known.get("verdict")
    reason = verdict.get("reason") if isinstance(verdict, dict) else None
    told = reason if isinstance(reason, str) and reason else REASON
    return as_visit(record.atoms, told, _source(path, known), _system(known))
