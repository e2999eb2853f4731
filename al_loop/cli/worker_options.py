"""Settings of ``al-loop worker`` and ``al-loop label``, from a campaign's config or from single options."""

from pathlib import Path

from al_loop.config import Config
from al_loop.config.settings import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger.store import shared_server
from al_loop.tools.preflight.load_config import load_config
from al_loop.tools.single_steps.arguments import label_block
from al_loop.tools.workers.remote_worker import RemoteWorker, worker_name


def worker_settings(
    config_path: Path | None,
    *,
    uri: str | None,
    uri_file: Path | None,
    campaign: str | None,
    engine: Path | None,
    folder: Path,
) -> RemoteWorker:
    """Return the settings of a remote worker.

    Raises:
        InputError: an option is missing, given twice or unreadable, or the URI on the command line holds credentials.
    """
    config = None if config_path is None else load_config(config_path)
    name = campaign or (config and config.name)
    if not name:
        raise InputError("--campaign: missing; name the campaign, or give its config file")
    store = _store(uri, uri_file, config)
    if engine is not None:
        label = label_block(engine)
    elif config is not None:
        label = config.label
    else:
        raise InputError("--engine: missing; give a YAML file with the campaign's label.engine block, or its config")
    where = folder.expanduser().resolve() / name
    return RemoteWorker(campaign=name, store=store, label=label, folder=where, name=worker_name(where))


def _store(uri: str | None, uri_file: Path | None, config: Config | None) -> StoreSettings:
    if uri is not None and uri_file is not None:
        raise InputError("received both --uri and --uri-file; give one of them")
    if uri is not None and ("@" in uri or "password" in uri.lower() or "token" in uri.lower()):
        raise InputError(
            "--uri: received a URI with user or password. Every user of the machine can read the arguments of a "
            "process: put the URI into MONGODB_URI, or into a file that only you can read, given as --uri-file"
        )
    given = StoreSettings(uri=uri, uri_file=uri_file)
    address = shared_server(given) or (config and shared_server(config.store))
    if not address:
        raise InputError(
            "no database: give --uri (without user and password), --uri-file, MONGODB_URI, or a config with store.uri. "
            "A campaign's private server cannot be reached from other machines"
        )
    return StoreSettings(uri=address)
