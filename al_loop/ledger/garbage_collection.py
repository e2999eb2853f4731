"""Delete files in GridFS that no document refers to: a process was killed between a file and its document.

Only the server's clock is used, and no file is deleted at once: an unreferenced file is noted when it is first found,
and deleted by a later sweep if it has been noted for a day and is still unreferenced. A process refers to its file
within seconds, or starts again with another file; so no file in use is deleted, even with other programs on the server.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from bson import ObjectId
from mongoengine import ObjectIdField
from pymongo import UpdateOne

from al_loop.ledger.base import LedgerBase, chunks
from al_loop.ledger.codec import BUCKET

DAY_S: Final = 86_400.0
NOTED: Final = "unused_file"  # collection: file id -> time of the server since when the file is unreferenced


class UnusedFilesLedger(LedgerBase):
    """Deletes files that are not referenced any more."""

    def sweep_files(self, older_s: float = DAY_S) -> int:
        """Note unreferenced files, and delete those that were noted some time ago.

        Safe beside other campaigns and workers on the same database; incompletely stored files are included.

        Args:
            older_s: minimum age of a note for deletion, s, by the server's clock.

        Returns:
            Number of deleted files.
        """
        unnamed = [file for chunk in chunks(self._stored_files()) for file in self._without_document(chunk)]
        noted = self._database[NOTED]
        for chunk in chunks(unnamed):
            first_seen = [{"$set": {"since": {"$ifNull": ["$since", "$$NOW"]}}}]
            noted.bulk_write([UpdateOne({"_id": file}, first_seen, upsert=True) for file in chunk], ordered=False)
        old = {"$expr": {"$lte": ["$since", {"$subtract": ["$$NOW", round(1000 * older_s)]}]}}
        deleted = 0
        for chunk in chunks(entry["_id"] for entry in noted.find(old, {"_id": 1}, hint="_id_")):
            due = self._without_document(chunk)
            for file in due:
                self._files().delete(file)
            deleted += len(due)
            noted.delete_many({"_id": {"$in": list(chunk)}})
        return deleted

    def _stored_files(self) -> Iterator[ObjectId]:
        """Ids of all files; incompletely stored ones have only chunks."""
        pieces = [{"$sort": {"files_id": 1, "n": 1}}, {"$group": {"_id": "$files_id"}}]
        for entry in self._database[BUCKET].chunks.aggregate(pieces, hint="files_id_1_n_1"):
            yield entry["_id"]

    def _without_document(self, files: Sequence[ObjectId]) -> list[ObjectId]:
        """Those of some files that no document refers to."""
        named: set[ObjectId] = set()
        for document in self._docs.all():
            for field in file_fields(document):
                found = self._collection(document).find({field: {"$in": list(files)}}, {field: 1, "_id": 0})
                named |= {entry[field] for entry in found}
        return [file for file in files if file not in named]


def file_fields(document: Any) -> list[str]:
    """Fields of a document class that refer to a file: documents contain no other ObjectIds than these."""
    fields = document._fields.items()
    return [name for name, field in fields if isinstance(field, ObjectIdField) and field.db_field != "_id"]
