"""The documents of the ledger's collections. Nothing outside this package uses them.

The classes are abstract; ``bind`` makes a concrete set for one connection, so that one process may have several open
ledgers, in several threads too.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

from mongoengine import (
    BinaryField,
    BooleanField,
    DateTimeField,
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    FloatField,
    IntField,
    MapField,
    ObjectIdField,
    StringField,
)

from al_loop.ledger.codec import INLINE_BYTES, from_row

SCHEMA_VERSION: Final = 1  # must be raised when any field changes

PENDING, CLAIMED, DONE, FAILED = "pending", "claimed", "done", "failed"


def _shape(*indexes: str | tuple[str, ...] | dict[str, Any], collection: str | None = None) -> dict[str, Any]:
    """Mongoengine's ``meta`` of a class that ``bind`` makes concrete; indexes are created when a ledger is opened."""
    named = {} if collection is None else {"collection": collection, "indexes": list(indexes)}
    return {"abstract": True, "auto_create_index": False, **named}


def _to_files(field: str) -> dict[str, Any]:
    """The index of a field that refers to a file, which few documents have."""
    return {"fields": [field], "sparse": True}


class _LedgerDocument(Document):
    """Base of all documents, with the version of the format."""

    meta = _shape()
    schema_version = IntField(required=True, default=SCHEMA_VERSION)

    @classmethod
    def _from_son(cls, son: Any, *args: Any, **kwargs: Any) -> Any:
        make = super()._from_son
        return from_row(cls._get_collection_name(), son.get("_id"), lambda: make(son, *args, **kwargs))


class Runner(EmbeddedDocument):
    """The process that runs a campaign, or ran it last."""

    token = StringField(required=True)
    folder = StringField(required=True)
    host = StringField(required=True)
    machine = StringField()
    pid = IntField(required=True)
    started = StringField()
    running = BooleanField(required=True)
    beat = DateTimeField(required=True)  # by the server's clock, compared for equality only


class Campaign(_LedgerDocument):
    """One campaign; the id is its name."""

    meta = _shape(collection="campaign")
    id = StringField(primary_key=True)
    campaign_id = StringField()  # random, the same as in the campaign's folder
    config = StringField()  # JSON
    created_at = DateTimeField(required=True)
    served_model = StringField()
    runner = EmbeddedDocumentField(Runner)


class Stage(EmbeddedDocument):
    """A finished stage."""

    seconds = FloatField(required=True)
    results = StringField(required=True)  # JSON
    finished_at = DateTimeField(required=True)


class Round(_LedgerDocument):
    """One round of one campaign, with its finished stages."""

    meta = _shape(("campaign", "round"), collection="round")
    id = StringField(primary_key=True)
    campaign = StringField(required=True)
    round = IntField(required=True)
    stages = MapField(EmbeddedDocumentField(Stage))


class Frame(_LedgerDocument):
    """A structure, shared by all campaigns; the order of atoms is that of its first storage."""

    meta = _shape(_to_files("atoms_file"), collection="frame")
    id = StringField(primary_key=True)
    atoms = BinaryField(max_bytes=INLINE_BYTES)
    atoms_file = ObjectIdField()  # in GridFS, in place of ``atoms`` where they are too large for a document
    natoms = IntField(required=True)
    formula = StringField(required=True)


class StoredVerdict(EmbeddedDocument):
    """The verdict of one check of the gate."""

    kind = StringField(required=True)
    reason = StringField()


class Visit(_LedgerDocument):
    """A gated frame of one trajectory of one round."""

    meta = _shape(("campaign", "round", "role", "order"), ("campaign", "frame"), collection="visit")
    id = StringField(primary_key=True)
    campaign = StringField(required=True)
    round = IntField(required=True)
    role = StringField(required=True)
    order = IntField(required=True)
    batch = StringField(required=True)  # id of the call that wrote it; a later call removes the visits of others
    frame = StringField(required=True)
    system = StringField(required=True)
    trajectory = StringField(required=True)
    step = IntField(required=True)
    temperature_K = FloatField(required=True)
    kind = StringField(required=True)
    check = StringField(required=True)
    reason = StringField()
    atom_indices = BinaryField(max_bytes=INLINE_BYTES)  # int32 (m,), the atoms that the verdict concerns
    stop = BooleanField(required=True)
    checks = MapField(EmbeddedDocumentField(StoredVerdict))  # by check
    force_uncertainty_eV_per_A = FloatField()
    latent_distance = FloatField()
    frame_uncertainty_eV_per_A = FloatField()
    descriptor = BinaryField(max_bytes=INLINE_BYTES)  # float32 (d,)


class Requester(EmbeddedDocument):
    """The campaign that requested a label, with round and role."""

    campaign = StringField(required=True)
    round = IntField(required=True)
    role = StringField(required=True)
    order = IntField(required=True)
    system = StringField(required=True)
    trajectory = StringField(required=True)
    outlier = StringField()  # why this campaign does not train on the converged label


class Request(_LedgerDocument):
    """A requested label: one for each frame and level of theory, for all campaigns."""

    meta = {  # noqa: RUF012
        "abstract": True,
        "collection": "request",
        "indexes": [("level", "wanted_by.campaign", "state", "created_at", "order"), ("wanted_by.campaign", "state")],
    }
    id = StringField(primary_key=True)
    frame = StringField(required=True)
    level = StringField(required=True)
    wanted_by = EmbeddedDocumentListField(Requester)
    created_at = DateTimeField(required=True)
    order = IntField(required=True)
    state = StringField(required=True, choices=(PENDING, CLAIMED, DONE, FAILED))
    attempts = IntField(required=True, default=0)
    lease_until = DateTimeField(required=True)  # by the server's clock
    worker = StringField()
    previous_worker = StringField()
    token = StringField()
    label = StringField()  # id of the accepted outcome


class Label(_LedgerDocument):
    """The outcome of one execution. It is valid only if its request refers to it."""

    meta = _shape(
        "request",
        ("campaign", "superseded"),
        _to_files("forces_eV_per_A_file"),
        _to_files("magnetic_moments_uB_file"),
        collection="label",
    )
    id = StringField(primary_key=True)
    request = StringField(required=True)
    frame = StringField(required=True)
    level = StringField(required=True)
    campaign = StringField(required=True)  # of the worker that calculated it
    attempt = IntField(required=True)
    status = StringField(required=True)
    energy_eV = FloatField()
    forces_eV_per_A = BinaryField(max_bytes=INLINE_BYTES)  # float64 (n, 3)
    forces_eV_per_A_file = ObjectIdField()  # in GridFS, in place of the field above
    stress_eV_per_A3 = BinaryField(max_bytes=INLINE_BYTES)  # float64 (6,)
    cost_s = FloatField(required=True)
    message = StringField()
    failure = StringField()
    attempts = StringField()  # JSON
    magnetic_moments_uB = BinaryField(max_bytes=INLINE_BYTES)  # float64 (n,)
    magnetic_moments_uB_file = ObjectIdField()
    created_at = DateTimeField(required=True)
    superseded = BooleanField(required=True, default=False)  # finished after its lease was lost


class Model(_LedgerDocument):
    """A trained committee whose checkpoint is a side file."""

    meta = _shape(("campaign", "round"), collection="model")
    id = StringField(primary_key=True)
    campaign = StringField(required=True)
    round = IntField(required=True)
    path = StringField(required=True)
    fingerprint = StringField(required=True)
    checkpoint = StringField()  # SHA-256 of its files
    info = StringField(required=True)  # JSON
    created_at = DateTimeField(required=True)
    served_since = IntField()


class Event(_LedgerDocument):
    """An event of a campaign."""

    meta = _shape(("campaign", "time"), collection="event")
    campaign = StringField(required=True)
    kind = StringField(required=True)
    message = StringField()
    round = IntField()
    time = DateTimeField(required=True)
    data = StringField(required=True)  # JSON


class ArraySet(_LedgerDocument):
    """Refers to the current version of named arrays in GridFS."""

    meta = _shape("file", collection="array_set")
    id = StringField(primary_key=True)
    campaign = StringField(required=True)
    key = StringField(required=True)
    file = ObjectIdField(required=True)


@dataclass(frozen=True)
class Documents:
    """The document classes of one connection."""

    campaign: type[Campaign]
    round: type[Round]
    frame: type[Frame]
    visit: type[Visit]
    request: type[Request]
    label: type[Label]
    model: type[Model]
    event: type[Event]
    array_set: type[ArraySet]

    def ensure_indexes(self) -> None:
        """Create the declared indexes where they are missing."""
        for document in self.all():
            document.ensure_indexes()

    def all(self) -> list[type[Any]]:
        """Every class."""
        return [getattr(self, entry.name) for entry in fields(self)]


def bind(alias: str) -> Documents:
    """Concrete document classes on the mongoengine connection ``alias``."""

    def concrete(base: type[Any]) -> Any:
        meta = {"db_alias": alias, "abstract": False}
        return type(base.__name__, (base,), {"meta": meta, "__module__": base.__module__, "__doc__": base.__doc__})

    return Documents(
        campaign=concrete(Campaign),
        round=concrete(Round),
        frame=concrete(Frame),
        visit=concrete(Visit),
        request=concrete(Request),
        label=concrete(Label),
        model=concrete(Model),
        event=concrete(Event),
        array_set=concrete(ArraySet),
    )
