"""Visits: the gated frames of trajectories."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymongo import ReplaceOne

from al_loop.ledger.base import chunks, raw
from al_loop.ledger.codec import (
    from_row,
    pack_descriptor,
    pack_indices,
    unpack_descriptor,
    unpack_indices,
)
from al_loop.ledger.documents import StoredVerdict
from al_loop.ledger.frames import BLOCK, FrameLedger
from al_loop.ledger.reconnect import in_parts, retry_on_disconnect
from al_loop.records import Frame, FrameSummary, GateCheck, Role, Verdict, VerdictKind
from al_loop.utils.content_hash import canonical_order, content_id

BLOCK_ATOMS: Final = 1_000_000  # fewer visits where their frames are large


class VisitLedger(FrameLedger):
    """Visits."""

    @in_parts
    def replace_visits(self, round_: int, roles: Collection[Role], visits: Iterable[Frame], after: int = 0) -> int:
        """Replace the round's visits with these roles by ``visits``; unknown frames are stored first.

        The first ``after`` visits of earlier calls are kept, and ``visits`` follow them.

        After a crash the same call leaves exactly the result of an undisturbed one. A visit of a frame that is stored
        in another order of atoms is reordered to that. Only one block of visits is in memory at a time.

        Returns:
            Number of ``visits``.

        Raises:
            ValueError: a visit has another role.
        """
        batch = uuid.uuid4().hex
        known: set[str] = set()
        count = 0
        for block in _blocks(visits):
            strangers = sorted({visit.role for visit in block} - set(roles))
            if strangers:
                raise ValueError(f"visits have roles {strangers}, expected only {sorted(roles)}")
            stored_atoms = self._store_frames({visit.frame_id: visit.atoms for visit in reversed(block)})
            documents: dict[str, dict[str, Any]] = {}
            for order, visit in enumerate(block, start=after + count):
                indices = reorder_indices(visit, stored_atoms[visit.frame_id])
                document = self._visit_document(round_, order, batch, visit, indices)
                documents.setdefault(document["_id"], document)
            new = [document for key, document in documents.items() if key not in known]
            if new:
                self._write_visits(new)
            known |= documents.keys()
            count += len(block)
        self._drop_others(round_, roles, batch, after)
        return count

    def visits(
        self,
        round_: int | None = None,
        role: Role | None = None,
        kind: VerdictKind | None = None,
        frames: Collection[str] | None = None,
    ) -> list[Frame]:
        """Visits by round, role and order, with the atoms in the stored order."""
        chosen = self._docs.visit.objects(campaign=self.campaign)
        if frames is not None:
            chosen = chosen.filter(frame__in=list(frames))
        for name, value in (("round", round_), ("role", role), ("kind", kind)):
            if value is not None:
                chosen = chosen.filter(**{name: value})
        documents = list(chosen.order_by("round", "role", "order").no_cache())
        atoms = self.frames(document.frame for document in documents)
        # Each visit has its own copy: two of one frame must not share atoms that a caller may modify.
        return [
            from_row("visit", document.id, partial(lambda visit: _visit(visit, atoms[visit.frame].copy()), document))
            for document in documents
        ]

    def candidates(self, round_: int, role: Role) -> list[FrameSummary]:
        """The frames of a round, each once, in the order of the visits, without their structures.

        Of 10^5 visits of 64 atoms this reads a tenth of what ``visits`` would.
        """
        found = self._collection(self._docs.visit).find(
            {"campaign": self.campaign, "round": round_, "role": role.value},
            {"frame": 1, "kind": 1, "check": 1, "force_uncertainty_eV_per_A": 1, "descriptor": 1},
        )
        visits: dict[str, dict[str, Any]] = {}
        for document in found.sort("order", 1):
            visits.setdefault(document["frame"], document)
        formulas = self._formulas(visits)
        return [
            from_row("visit", document["_id"], partial(_summary, formulas, document)) for document in visits.values()
        ]

    def descriptors(self, ids: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Descriptors of this campaign's frames, by frame; frames without one are left out."""
        collection = self._collection(self._docs.visit)
        return {
            stored["frame"]: from_row("visit", stored["_id"], partial(unpack_descriptor, stored["descriptor"]))
            for chunk in chunks(dict.fromkeys(ids))
            for stored in collection.find(
                {"campaign": self.campaign, "frame": {"$in": chunk}, "descriptor": {"$type": "binData"}},
                {"frame": 1, "descriptor": 1},
            )
        }

    @retry_on_disconnect
    def _write_visits(self, documents: Sequence[dict[str, Any]]) -> None:
        replacements = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
        self._collection(self._docs.visit).bulk_write(replacements, ordered=False)

    @retry_on_disconnect
    def _drop_others(self, round_: int, roles: Collection[Role], batch: str, after: int) -> None:
        self._collection(self._docs.visit).delete_many(
            {
                "campaign": self.campaign,
                "round": round_,
                "role": {"$in": [role.value for role in roles]},
                "batch": {"$ne": batch},
                "order": {"$gte": after},
            }
        )

    def _visit_document(
        self, round_: int, order: int, batch: str, visit: Frame, indices: Sequence[int]
    ) -> dict[str, Any]:
        key = (self.campaign, round_, visit.role, visit.trajectory, visit.step, visit.frame_id)
        return raw(
            self._docs.visit,
            id=content_id("visit", *key),
            campaign=self.campaign,
            round=round_,
            role=visit.role.value,
            order=order,
            batch=batch,
            frame=visit.frame_id,
            system=visit.system,
            trajectory=visit.trajectory,
            step=visit.step,
            temperature_K=float(visit.temperature_K),
            kind=visit.verdict.kind.value,
            check=visit.verdict.check.value,
            reason=visit.verdict.reason,
            atom_indices=pack_indices(indices) if indices else None,
            stop=bool(visit.verdict.stop),
            checks=packed_checks(visit.checks),
            force_uncertainty_eV_per_A=_optional(visit.force_uncertainty_eV_per_A),
            latent_distance=_optional(visit.latent_distance),
            frame_uncertainty_eV_per_A=_optional(visit.frame_uncertainty_eV_per_A),
            descriptor=None if visit.descriptor is None else pack_descriptor(visit.descriptor),
        )


def _blocks(visits: Iterable[Frame]) -> Iterator[list[Frame]]:
    block: list[Frame] = []
    atoms = 0
    for visit in visits:
        block.append(visit)
        atoms += len(visit.atoms)
        if len(block) == BLOCK or atoms >= BLOCK_ATOMS:
            yield block
            block, atoms = [], 0
    if block:
        yield block


def reorder_indices(visit: Frame, stored: Atoms) -> Sequence[int]:
    """The verdict's atom indices in the stored order of atoms."""
    if stored is visit.atoms or not visit.verdict.atoms:
        return visit.verdict.atoms
    place = dict(zip(canonical_order(visit.atoms), canonical_order(stored), strict=True))
    return [place[index] for index in visit.verdict.atoms]


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


def _descriptor(data: bytes | None) -> NDArray[np.float32] | None:
    return None if data is None else unpack_descriptor(data)


def _summary(formulas: Mapping[str, str], document: Mapping[str, Any]) -> FrameSummary:
    return FrameSummary(
        frame_id=document["frame"],
        formula=formulas[document["frame"]],
        kind=VerdictKind(document["kind"]),
        check=GateCheck(document["check"]),
        force_uncertainty_eV_per_A=document.get("force_uncertainty_eV_per_A"),
        descriptor=_descriptor(document.get("descriptor")),
    )


def _visit(document: Any, atoms: Atoms) -> Frame:
    return Frame(
        round=document.round,
        frame_id=document.frame,
        atoms=atoms,
        role=Role(document.role),
        system=document.system,
        trajectory=document.trajectory,
        step=document.step,
        temperature_K=document.temperature_K,
        verdict=Verdict(
            kind=VerdictKind(document.kind),
            check=GateCheck(document.check),
            reason=document.reason or "",
            atoms=unpack_indices(document.atom_indices or b""),
            stop=document.stop,
        ),
        force_uncertainty_eV_per_A=document.force_uncertainty_eV_per_A,
        latent_distance=document.latent_distance,
        frame_uncertainty_eV_per_A=document.frame_uncertainty_eV_per_A,
        descriptor=_descriptor(document.descriptor),
        checks=unpacked_checks(document.checks),
    )


LONGEST_REASON = 300  # letters


def packed_checks(checks: Mapping[GateCheck, Verdict]) -> dict[str, StoredVerdict]:
    """Check -> kind and reason; reasons are cut to ``LONGEST_REASON``, so that a document's size is bounded."""
    return {
        check.value: StoredVerdict(kind=one.kind.value, reason=one.reason[:LONGEST_REASON])
        for check, one in checks.items()
    }


def unpacked_checks(stored: Mapping[str, StoredVerdict] | None) -> dict[GateCheck, Verdict]:
    """The inverse of ``packed_checks``."""
    return {
        GateCheck(check): Verdict(VerdictKind(one.kind), GateCheck(check), one.reason or "")
        for check, one in (stored or {}).items()
    }
