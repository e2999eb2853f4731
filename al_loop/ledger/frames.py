"""Structures, shared by all campaigns."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from ase import Atoms
from gridfs import GridFS
from pymongo.errors import BulkWriteError

from al_loop.frames.codec import pack_atoms, unpack_atoms, unpack_entries
from al_loop.frames.own_entries import OwnEntries
from al_loop.ledger.base import LedgerBase, chunks, raw
from al_loop.ledger.codec import drop_blobs, from_row, get_blob, put_blob
from al_loop.ledger.reconnect import retry_on_disconnect

BLOCK: Final = 1000  # frames in memory while they are stored

_DUPLICATE_KEY: Final = 11000


class FrameLedger(LedgerBase):
    """Structures and a user's own entries by content hash, in the order of atoms of their first storage."""

    def frames(self, ids: Iterable[str]) -> dict[str, Atoms]:
        """Structures by id, in the stored order of atoms; unknown ids are left out."""
        files, collection = self._files(), self._collection(self._docs.frame)
        return {
            stored["_id"]: from_row("frame", stored["_id"], partial(_atoms, files, stored))
            for chunk in chunks(dict.fromkeys(ids))
            for stored in collection.find({"_id": {"$in": chunk}}, {"atoms": 1, "atoms_file": 1})
        }

    def entries(self, ids: Iterable[str]) -> dict[str, OwnEntries]:
        """The user's own entries of frames by id, in the stored order of atoms; unknown ids are left out."""
        files, collection = self._files(), self._collection(self._docs.frame)
        return {
            stored["_id"]: from_row("frame", stored["_id"], partial(_entries, files, stored))
            for chunk in chunks(dict.fromkeys(ids))
            for stored in collection.find({"_id": {"$in": chunk}}, {"atoms": 1, "atoms_file": 1})
        }

    def _formulas(self, ids: Iterable[str]) -> dict[str, str]:
        collection = self._collection(self._docs.frame)
        return {
            stored["_id"]: stored["formula"]
            for chunk in chunks(ids)
            for stored in collection.find({"_id": {"$in": chunk}}, {"formula": 1})
        }

    @retry_on_disconnect
    def _store_frames(self, frames: Mapping[str, Atoms]) -> dict[str, Atoms]:
        """Store unknown frames; returns all of them as they are stored."""
        collection = self._collection(self._docs.frame)
        known: set[str] = set()
        for chunk in chunks(frames):
            known |= {found["_id"] for found in collection.find({"_id": {"$in": chunk}}, {"_id": 1})}
        for chunk in chunks((key for key in frames if key not in known), BLOCK):
            new = [self._frame_document(key, frames[key]) for key in chunk]
            try:
                collection.insert_many(new, ordered=False)
            except BulkWriteError as error:
                for index in inserted_by_others(error):
                    known.add(chunk[index])
                    drop_blobs(self._files(), new[index])
        return {**frames, **self.frames(known)}

    def _frame_document(self, frame_id: str, atoms: Atoms) -> dict[str, Any]:
        document = frame_document(self._docs.frame, frame_id, atoms)
        return document | put_blob(self._files(), "atoms", pack_atoms(atoms))


def frame_document(document: type[Any], frame_id: str, atoms: Atoms) -> dict[str, Any]:
    """The document of a frame, without its structure."""
    return raw(document, id=frame_id, natoms=len(atoms), formula=atoms.get_chemical_formula())


def inserted_by_others(error: BulkWriteError) -> list[int]:
    """Indices of the documents that another process has stored; any other failure is raised."""
    failures = (error.details or {}).get("writeErrors", [])
    if not failures or any(failure["code"] != _DUPLICATE_KEY for failure in failures):
        raise error
    return [failure["index"] for failure in failures]


def _atoms(files: GridFS, stored: Mapping[str, Any]) -> Atoms:
    return unpack_atoms(get_blob(files, stored, "atoms") or b"")


def _entries(files: GridFS, stored: Mapping[str, Any]) -> OwnEntries:
    return unpack_entries(get_blob(files, stored, "atoms") or b"")
