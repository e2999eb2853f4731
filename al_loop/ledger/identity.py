"""Check that a folder and a ledger belong to the same campaign.

A campaign and its database each have a random id: the ledger holds both, and so does the folder in ``campaign.id``.
Nothing is read or written before they agree.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from al_loop.config import Config, StoreSettings
from al_loop.errors import InputError
from al_loop.ledger import Ledger, open_ledger
from al_loop.ledger.connection import without_credentials
from al_loop.ledger.store import shared_server
from al_loop.utils.campaign_folder import LEDGER, Remains, check_remains, has_database
from al_loop.utils.foreign_input import reading, reason_of
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.sealed_json import sealed, unsealed

ID_NAME = "campaign.id"


class Identity(BaseModel):
    """The campaign of a folder, as its file ``campaign.id`` records it.

    Attributes:
        campaign_id: random, the same as in the ledger.
        name: of the campaign.
        database_id: of the campaign's database; None until the campaign is stored there.
        server: host and port of the user's own server, without credentials; empty for the folder's private one.
        starts: token of the campaign's last start in this folder, and during a start also that of the previous one. A
            copy or a backup of the folder holds an older token than the ledger.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    campaign_id: str
    name: str
    database_id: str | None = None
    server: str = ""
    starts: tuple[str, ...] = ()


def campaign_folder(config: Config) -> Path:
    """Return the folder of a campaign, absolute."""
    return config.folder.expanduser().resolve()


def read_identity(folder: Path) -> Identity | None:
    """Return the identity in a folder, None if no campaign was started there.

    Raises:
        InputError: the file cannot be read, or is damaged.
    """
    found = _parsed(folder)
    return None if found is None or found.database_id is None else found


def _parsed(folder: Path) -> Identity | None:
    """Content of the folder's file, also of an interrupted start."""
    path = folder / ID_NAME
    remedy = (
        "restore it, or move it away and give `al-loop run` the option --go-on-here, which writes it again from the "
        "ledger"
    )
    with reading(f"{path}, which says to which campaign the folder belongs,", remedy):
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if os.path.lexists(path):
                raise
            raise InputError(
                f"folder: {folder} cannot be used ({reason_of(error)}); correct `folder`, or the permissions of the "
                "folders above it"
            ) from error
        return Identity.model_validate(unsealed(text))


def write_identity(folder: Path, identity: Identity) -> None:
    """Write the identity of a folder atomically."""
    write_whole(folder / ID_NAME, sealed(identity.model_dump(mode="json")))


def check_folder(config: Config) -> Identity | None:
    """Compare a config with its folder, before a database is opened.

    Returns:
        The identity in the folder, None if no campaign was started there.

    Raises:
        InputError: the folder belongs to another campaign, no server is set although its campaign is on one, or its
            ledger is missing.
    """
    folder = campaign_folder(config)
    known = read_identity(folder)
    lost = shared_server(config.store) is None and not has_database(folder)
    if known is None:
        if lost:
            check_remains(folder)
        return None
    if known.name != config.name:
        raise InputError(
            f"{folder} is the folder of campaign {known.name}, and the config's `name` is {config.name}. Set `name` "
            f"back to {known.name} to continue that campaign, or choose another `folder` for {config.name}."
        )
    if lost and known.server:
        raise InputError(
            f"Campaign {known.name} in {folder} was started with the MongoDB server at {known.server}, and no server "
            "is set now. Set MONGODB_URI (or store.uri) as at the start."
        )
    if lost:
        raise InputError(
            f"The ledger of campaign {known.name} is missing: there is no database in {folder / LEDGER}, the only "
            f"record of requests, labels and served models. Restore it from a backup. {Remains.of(folder)}"
        )
    return known


def check_ledger(ledger: Ledger, store: StoreSettings, folder: Path, known: Identity) -> None:
    """Check that a ledger holds the campaign of a folder.

    Raises:
        InputError: it holds no campaign of that name, or another one, or it is another database.
    """
    found = ledger.campaign_id()
    if (found, ledger.noted_database_id()) == (known.campaign_id, known.database_id):
        return
    if found is None:
        holds = f"holds no campaign {known.name}"
    elif found != known.campaign_id:
        holds = f"holds another campaign of the name {known.name}"
    else:
        holds = "is another one, into which the campaign was copied"
    origin = f"the MongoDB server at {known.server}" if known.server else f"its own server in {folder / LEDGER}"
    raise InputError(
        f"The database ({_place(store, folder)}) is not that of the campaign in {folder}: it {holds}. The campaign "
        f"was started with {origin}. Correct MONGODB_URI (or store.uri), or restore the database; or choose another "
        f"`folder` for a new campaign, since the models in this one belong to that campaign. {Remains.of(folder)}"
    )


@contextmanager
def existing_campaign(config: Config, *, read_only: bool = False) -> Iterator[Ledger]:
    """Open the ledger of a campaign that was started before; nothing is created if there is none.

    On the user's own server the campaign may have been started in another folder.

    Raises:
        InputError: there is none, or the folder and the database belong to different campaigns.
    """
    folder, known = campaign_folder(config), check_folder(config)
    if known is None and shared_server(config.store) is None:
        id_is_lost = has_database(folder) and not (folder / ID_NAME).exists()
        raise InputError(_without_id(folder, config.name) if id_is_lost else _nothing_in(folder))
    with open_ledger(config.store, folder, config.name, read_only=read_only) as ledger:
        if known is not None:
            check_ledger(ledger, config.store, folder, known)
        elif ledger.campaign_config() is None:
            raise InputError(_nothing_in(folder))
        yield ledger


def started_identity(ledger: Ledger, config: Config, *, go_on_here: bool = False) -> Identity | None:
    """Return the identity of the campaign in a config's folder, None if a new one is to be started.

    Args:
        ledger: of the campaign, new or existing.
        config: the campaign.
        go_on_here: a folder without ``campaign.id`` gets that of the ledger's campaign.

    Raises:
        InputError: the folder or the name belongs to another campaign.
    """
    folder, known = campaign_folder(config), check_folder(config)
    if known is not None:
        check_ledger(ledger, config.store, folder, known)
        return known
    found = ledger.campaign_id()
    if found is None:
        check_remains(folder)
        return None
    begun_here = _unfinished(folder) == found  # killed between its first write and its last
    if not (begun_here or go_on_here):
        runner = ledger.runner()
        if runner is not None and runner.folder == str(folder):
            raise InputError(_without_id(folder, config.name, runner.host))
        where = "another folder" if runner is None else f"another folder ({runner.folder} on {runner.host})"
        raise InputError(
            f"The database already holds a campaign {config.name}, which was started in {where} than {folder}. Choose "
            "another `name`, or set `folder` to that campaign's folder. Only if its folder, or the file "
            f"{ID_NAME} in it, is lost, give `al-loop run` the option --go-on-here: missing models are then trained "
            "again from the labels."
        )
    return _whole(ledger, config, found)


def start_campaign(ledger: Ledger, config: Config, description: dict[str, Any]) -> Identity:
    """Start a campaign in ledger and folder.

    Raises:
        InputError: another process has started one with this name at the same time.
    """
    folder = campaign_folder(config)
    campaign_id = uuid.uuid4().hex
    write_identity(folder, Identity(campaign_id=campaign_id, name=config.name))
    ledger.start_campaign(description, campaign_id)
    if ledger.campaign_id() != campaign_id:
        (folder / ID_NAME).unlink()
        raise InputError(
            f"Another process has started a campaign {config.name} in the same database a moment ago. Choose another "
            "`name`."
        )
    identity = _whole(ledger, config, campaign_id)
    write_identity(folder, identity)
    return identity


def _whole(ledger: Ledger, config: Config, campaign_id: str) -> Identity:
    uri = shared_server(config.store)
    return Identity(
        campaign_id=campaign_id,
        name=config.name,
        database_id=ledger.database_id(),
        server="" if uri is None else without_credentials(uri),
    )


def _unfinished(folder: Path) -> str | None:
    """The id of a campaign whose start in this folder was interrupted."""
    found = _parsed(folder)
    return None if found is None else found.campaign_id


def _place(store: StoreSettings, folder: Path) -> str:
    uri = shared_server(store)
    return str(folder / LEDGER) if uri is None else without_credentials(uri)


def _without_id(folder: Path, name: str, host: str = "") -> str:
    ran = f" It ran last in a folder of this path on {host}." if host else ""
    return (
        f"{folder} has no file {ID_NAME}, which links it to campaign {name}.{ran} Restore it; or give "
        "`al-loop run` the option --go-on-here, which writes it again from the ledger, and trains missing models "
        "again from the labels."
    )


def _nothing_in(folder: Path) -> str:
    return f"no campaign in {folder}; start it with: al-loop run CONFIG (a relative folder counts from the current one)"
