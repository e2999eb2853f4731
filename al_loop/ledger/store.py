"""The ledger of one campaign: everything it knows, in plain records."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.folder import LEDGER
from al_loop.ledger.connection import connected
from al_loop.ledger.documents import SCHEMA_VERSION
from al_loop.ledger.labels import LabelLedger
from al_loop.ledger.models import ArrayLedger, EventLedger, ModelLedger
from al_loop.ledger.requests import RequestLedger
from al_loop.ledger.rounds import RoundLedger
from al_loop.ledger.server import held_server


class Ledger(RoundLedger, RequestLedger, LabelLedger, ModelLedger, EventLedger, ArrayLedger):
    """One campaign's ledger. Frames, requests and labels are shared with other campaigns on the same database.

    Safe for several processes, each of which opens its own, and for threads of one process.
    """


@contextmanager
def open_ledger(store: StoreSettings, folder: Path, campaign: str) -> Iterator[Ledger]:
    """The ledger of a campaign, for the length of the block.

    Args:
        store: which server; without a URI that of ``MONGODB_URI``, without that one a private server in
            ``folder/ledger``, which the last one to use it stops.
        folder: the campaign's folder.
        campaign: its name.

    Raises:
        InputError: the server does not answer or start, or a newer version wrote this ledger.
    """
    with ExitStack() as stack:
        uri = store.uri or os.environ.get("MONGODB_URI") or stack.enter_context(held_server(folder / LEDGER))
        ledger = Ledger(stack.enter_context(connected(uri)), campaign)
        _refuse_newer(ledger)
        ledger.ensure_indexes()
        yield ledger


def _refuse_newer(ledger: Ledger) -> None:
    newest = ledger.schema_version()
    if newest is not None and newest > SCHEMA_VERSION:
        raise InputError(
            f"The ledger was written in version {newest} of its format, and this al-loop knows up to {SCHEMA_VERSION}. "
            "Install a newer al-loop, or choose another folder or database."
        )
