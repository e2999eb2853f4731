"""The ledger of one campaign: everything it knows, in plain records."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pymongo.errors import OperationFailure, PyMongoError

from al_loop.config import StoreSettings
from al_loop.errors import DatabaseLostError, InputError
from al_loop.ledger.connection import codes_of, connected, said_by, uri_in_file, without_credentials
from al_loop.ledger.garbage_collection import UnusedFilesLedger
from al_loop.ledger.incoming import IncomingLedger
from al_loop.ledger.labels import LabelLedger
from al_loop.ledger.models import ArrayLedger, EventLedger, ModelLedger
from al_loop.ledger.mongod import last_errors
from al_loop.ledger.ownership import LeaseLedger
from al_loop.ledger.private_server import held_server, revive_server
from al_loop.ledger.reconnect import LOST, Patience, all_retry_on_disconnect
from al_loop.ledger.rounds import RoundLedger
from al_loop.ledger.verdicts import GatedLedger
from al_loop.utils.campaign_folder import LEDGER

_REFUSED: Final = frozenset({13, 18, 371})  # no right, wrong credentials, a server that blocks the writes of users


@all_retry_on_disconnect
class Ledger(
    RoundLedger,
    LeaseLedger,
    IncomingLedger,
    LabelLedger,
    GatedLedger,
    ModelLedger,
    EventLedger,
    ArrayLedger,
    UnusedFilesLedger,
):
    """One campaign's ledger. Frames, requests and labels are shared with other campaigns on the same database.

    Safe for several processes, each of which opens its own, and for threads of one process.
    """


@contextmanager
def open_ledger(
    store: StoreSettings, folder: Path, campaign: str, *, wait: bool = False, read_only: bool = False
) -> Iterator[Ledger]:
    """The ledger of a campaign, for the length of the block.

    Args:
        store: which server; without a URI that of ``MONGODB_URI``, without that one a private server in
            ``folder/ledger``, which the last one to use it stops.
        folder: the campaign's folder.
        campaign: its name.
        wait: for a server that does not answer now, as long as for one that goes away later (``store.wait_s``). A
            person is told at once instead.
        read_only: nothing is written, so that a server, or a user, that cannot write will do.

    Raises:
        InputError: the server does not answer, start or take writes, or another version wrote this ledger.
        DatabaseLostError: the server was there and is gone, or takes no writes any more.
    """
    uri = shared_server(store)
    with ExitStack() as stack:
        server = uri or stack.enter_context(held_server(folder / LEDGER))
        ledger = Ledger(stack.enter_context(connected(server, store.wait_s if wait else 0.0)), campaign)
        ledger.patience = _patience(store, ledger, uri, folder)
        try:
            _prepare(ledger, server, read_only=read_only)
            yield ledger
        except LOST as error:
            raise DatabaseLostError(_gone(uri, folder, error)) from error
        except OperationFailure as error:
            if not _REFUSED & codes_of(error):
                raise
            place = _place(uri, folder)
            raise DatabaseLostError(
                f"The campaign lost its database: {place} refuses what it did before ({said_by(error)}). Give the "
                "user the role readWrite again; then run the same command: it goes on where this one stopped."
            ) from error


def _prepare(ledger: Ledger, server: str, *, read_only: bool) -> None:
    """Make sure that the ledger can be used as it is meant to be, before anything is done.

    Raises:
        InputError: the server refuses it, or another version wrote the ledger.
    """
    try:
        if read_only:
            ledger.prepare_to_read()
        else:
            ledger.prepare()
    except OperationFailure as error:
        right = "read" if read_only else "readWrite"
        raise InputError(
            f"The MongoDB server at {without_credentials(server)} refuses what the ledger needs ({said_by(error)}). "
            f"Give the user the role {right} on the database, or set MONGODB_URI (or store.uri) to another server."
        ) from error


def shared_server(store: StoreSettings) -> str | None:
    """URI of the user's own server, None where the campaign starts a private one.

    Raises:
        InputError: ``store.uri_file`` cannot be read, holds no URI, or others may read it.
    """
    if store.uri_file is not None:
        return uri_in_file(store.uri_file)
    return store.uri or os.environ.get("MONGODB_URI") or None


def _patience(store: StoreSettings, ledger: Ledger, uri: str | None, folder: Path) -> Patience:
    def revive() -> bool:
        if uri is None:
            with suppress(InputError, OSError):  # it is tried again, and its log says why
                return revive_server(folder / LEDGER)
        return False

    name = str(folder / LEDGER) if uri is None else without_credentials(uri)
    return Patience(store.wait_s, ledger.ping, revive, name)


def _place(uri: str | None, folder: Path) -> str:
    return f"its private server in {folder / LEDGER}" if uri is None else f"the server at {without_credentials(uri)}"


def _gone(uri: str | None, folder: Path, error: PyMongoError) -> str:
    if uri is None:
        place = folder / LEDGER
        errors = "; ".join(last_errors(place / "mongod.log")) or "nothing"
        remedy = (
            f"The last errors in {place / 'mongod.log'}: {errors}. Mend the cause (database files that are damaged "
            f"come from a backup of {place})"
        )
    else:
        remedy = "Start it again"
    return (
        f"The campaign lost its database, {_place(uri, folder)} ({type(error).__name__}). {remedy}; then run the same "
        "command: it goes on where this one stopped, and nothing that was finished is lost."
    )
