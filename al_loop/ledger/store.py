"""The ledger of one campaign, which returns plain records."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pymongo.errors import OperationFailure, PyMongoError

from al_loop.config import StoreSettings
from al_loop.errors import DatabaseLostError, InputError
from al_loop.ledger.connection import codes_of, connected, text_of, uri_in_file, without_credentials
from al_loop.ledger.garbage_collection import UnusedFilesLedger
from al_loop.ledger.incoming import IncomingLedger
from al_loop.ledger.labels import LabelLedger
from al_loop.ledger.models import ArrayLedger, EventLedger, ModelLedger
from al_loop.ledger.mongod import last_errors
from al_loop.ledger.private_server import held_server, revive_server
from al_loop.ledger.reconnect import LOST, Reconnector, all_retry_on_disconnect
from al_loop.ledger.rounds import LeaseLedger, RoundLedger
from al_loop.ledger.verdicts import VerdictLedger
from al_loop.utils.campaign_folder import LEDGER

_REFUSED: Final = frozenset({13, 18, 371})  # missing permission, wrong credentials, user writes blocked by the server


@all_retry_on_disconnect
class Ledger(
    RoundLedger,
    LeaseLedger,
    IncomingLedger,
    LabelLedger,
    VerdictLedger,
    ModelLedger,
    EventLedger,
    ArrayLedger,
    UnusedFilesLedger,
):
    """One campaign's ledger. Frames, requests and labels are shared with other campaigns in the same database.

    Safe for several processes, each with its own ledger, and for threads of one process.
    """


@contextmanager
def open_ledger(
    store: StoreSettings, folder: Path, campaign: str, *, wait: bool = False, read_only: bool = False
) -> Iterator[Ledger]:
    """Open the ledger of a campaign for the block.

    Args:
        store: the server; without a URI that of ``MONGODB_URI``, without either a private server in ``folder/ledger``,
            which its last user stops.
        folder: the campaign's folder.
        campaign: its name.
        wait: wait for a server that does not respond, up to ``store.wait_s``, instead of failing at once as
            interactive commands do.
        read_only: nothing is written, so that a read-only server or user suffices.

    Raises:
        InputError: the server does not respond, start or accept writes, or another version wrote this ledger.
        DatabaseLostError: the server was lost, or accepts no writes any more.
    """
    uri = shared_server(store)
    with ExitStack() as stack:
        server = uri or stack.enter_context(held_server(folder / LEDGER))
        ledger = Ledger(stack.enter_context(connected(server, store.wait_s if wait else 0.0)), campaign)
        ledger.reconnector = _reconnector(store, ledger, uri, folder)
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
                f"The campaign lost its database: {place} refuses an operation that it allowed before "
                f"({text_of(error)}). Give the user the role readWrite again; then run the same command: it "
                "continues where this one stopped."
            ) from error


def _prepare(ledger: Ledger, server: str, *, read_only: bool) -> None:
    """Check that the ledger can be read or written as required, before anything else is done.

    Raises:
        InputError: the server refuses, or another version wrote the ledger.
    """
    try:
        if read_only:
            ledger.prepare_to_read()
        else:
            ledger.prepare()
    except OperationFailure as error:
        role = "read" if read_only else "readWrite"
        raise InputError(
            f"The MongoDB server at {without_credentials(server)} refuses what the ledger needs ({text_of(error)}). "
            f"Give the user the role {role} on the database, or set MONGODB_URI (or store.uri) to another server."
        ) from error


def shared_server(store: StoreSettings) -> str | None:
    """Return the URI of the user's own server, None if the campaign starts a private one.

    Raises:
        InputError: ``store.uri_file`` cannot be read, holds no URI, or others may read it.
    """
    if store.uri_file is not None:
        return uri_in_file(store.uri_file)
    return store.uri or os.environ.get("MONGODB_URI") or None


def _reconnector(store: StoreSettings, ledger: Ledger, uri: str | None, folder: Path) -> Reconnector:
    def revive() -> bool:
        if uri is None:
            with suppress(InputError, OSError):  # it is tried again, and its log holds the reason
                return revive_server(folder / LEDGER)
        return False

    name = str(folder / LEDGER) if uri is None else without_credentials(uri)
    return Reconnector(store.wait_s, ledger.ping, revive, name)


def _place(uri: str | None, folder: Path) -> str:
    return f"its private server in {folder / LEDGER}" if uri is None else f"the server at {without_credentials(uri)}"


def _gone(uri: str | None, folder: Path, error: PyMongoError) -> str:
    if uri is None:
        place = folder / LEDGER
        errors = "; ".join(last_errors(place / "mongod.log")) or "nothing"
        remedy = (
            f"The last errors in {place / 'mongod.log'}: {errors}. Fix the cause (restore damaged database files "
            f"from a backup of {place})"
        )
    else:
        remedy = "Start it again"
    return (
        f"The campaign lost its database, {_place(uri, folder)} ({type(error).__name__}). {remedy}; then run the same "
        "command: it continues where this one stopped, and no finished result is lost."
    )
