"""A lost database, and a campaign name that another folder uses in a shared database."""

import os
import signal
import time
from pathlib import Path

import pytest

from al_loop.campaign import Campaign
from al_loop.config import Config, StoreSettings
from al_loop.errors import DatabaseLostError, InputError
from al_loop.ledger import open_ledger
from al_loop.ledger.private_server import held_server, private_server
from al_loop.ledger.store import shared_server
from al_loop.tools.preflight.starting import stored_settings
from al_loop.tools.workers.worker_pool import WorkerPool
from al_loop.utils.campaign_folder import LOGS
from al_loop.utils.event_log import EventLog
from dft_interfaces.levels.level_of_theory import LevelOfTheory


def kill(server: Path) -> None:
    os.kill(int((server / "data" / "mongod.lock").read_text()), signal.SIGKILL)


def test_a_private_server_that_dies_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    with open_ledger(StoreSettings(), tmp_path, "copper") as ledger:
        ledger.finish_stage(0, "explore", 0.1, {})
        kill(tmp_path / "ledger")
        assert ledger.rounds() == [0]
    assert f"The database ({tmp_path / 'ledger'}) does not respond" in caplog.text
    assert "up to 300 s (store.wait_s)" in caplog.text
    assert "The database is back after" in caplog.text


def test_a_private_server_that_cannot_be_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI", raising=False)
    with pytest.raises(DatabaseLostError) as caught, open_ledger(StoreSettings(wait_s=2), tmp_path, "copper") as ledger:
        kill(tmp_path / "ledger")
        monkeypatch.setattr("al_loop.ledger.private_server.find_mongod", lambda: Path("/bin/false"))
        ledger.rounds()
    message = str(caught.value)
    assert f"lost its database, its private server in {tmp_path / 'ledger'}" in message
    assert "mongod.log" in message
    assert "run the same command" in message


def test_a_shared_server_that_dies(tmp_path: Path) -> None:
    with held_server(tmp_path / "server") as uri, pytest.raises(DatabaseLostError) as caught:
        quick = uri.replace("serverSelectionTimeoutMS=5000", "serverSelectionTimeoutMS=500")
        assert quick != uri
        with open_ledger(StoreSettings(uri=quick, wait_s=1), tmp_path / "run", "copper") as ledger:
            kill(tmp_path / "server")
            ledger.rounds()
    message = str(caught.value)
    assert "lost its database, the server at " in message
    assert "Start it again" in message
    assert "run the same command" in message


def test_a_worker_that_starts_while_a_shared_server_is_away_waits_for_it(tmp_path: Path) -> None:
    """As after the death of its predecessor; a worker that fails would be restarted three times only."""
    engine = {"engine": "ase", "calculator": "ase.calculators.emt.EMT"}
    with held_server(tmp_path / "server") as uri:
        campaign = config(tmp_path / "run", StoreSettings(uri=uri, wait_s=120))
        label = campaign.label.model_validate({"workers": 1, "engine": engine})
        kill(tmp_path / "server")
        with WorkerPool(campaign.model_copy(update={"label": label}), EventLog(tmp_path / "log.jsonl")) as pool:
            pool.start()
            log = tmp_path / "run" / LOGS / "worker_000.log"
            wait_for_log(log, pool, "does not respond")
            private_server(tmp_path / "server")
            wait_for_log(log, pool, "worker_000 is ready")
            assert log.read_text().count("does not respond") == 1


def wait_for_log(log: Path, pool: WorkerPool, text: str) -> None:
    """Return when the log contains the text; the worker is restarted if it ends."""
    deadline = time.monotonic() + 120
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        pool.check()
        time.sleep(0.1)


def config(folder: Path, store: StoreSettings, model: str = "7net-0", timestep_fs: float = 0.5) -> Config:
    folder.mkdir(exist_ok=True)
    return Config.model_validate(
        {
            "name": "copper",
            "folder": folder,
            "foundation": {"kind": "sevennet", "model": model},
            "systems": [{"file": Path(__file__).parents[2] / "configs" / "structures" / "silicon.cif"}],
            "explore": {"temperatures_K": [300], "timestep_fs": timestep_fs},
            "label": {"engine": {"engine": "gpaw"}},
            "store": store,
        }
    )


def begin(campaign: Config, weights: str = "a" * 64) -> None:
    with open_ledger(campaign.store, campaign.folder, campaign.name) as ledger:
        Campaign(campaign)._begin(ledger, stored_settings(campaign, weights, LevelOfTheory("gpaw", "PBE")))


def test_one_name_in_two_folders_of_one_database(store: StoreSettings, tmp_path: Path) -> None:
    begin(config(tmp_path / "mine", store))
    begin(config(tmp_path / "mine", store))
    with pytest.raises(InputError, match=r"already holds a campaign copper.*another folder.*another `name`"):
        begin(config(tmp_path / "yours", store))
    assert list((tmp_path / "yours").iterdir()) == []
    (tmp_path / "mine").rename(tmp_path / "moved")
    begin(config(tmp_path / "moved", store))


def test_a_foundation_is_its_weights_wherever_their_file_is(store: StoreSettings, tmp_path: Path) -> None:
    begin(config(tmp_path / "run", store, "/old/place/model.pth"))
    begin(config(tmp_path / "run", store, "/new/place/model.pth"))
    with pytest.raises(InputError, match=r"foundation_fingerprint \(was aaaa.*, is bbbb.*\)"):
        begin(config(tmp_path / "run", store, "/old/place/model.pth"), weights="b" * 64)
    with pytest.raises(InputError, match=r"other settings: explore\.timestep_fs .*Set them back"):
        begin(config(tmp_path / "run", store, "/new/place/model.pth", timestep_fs=1.0))


def test_an_empty_variable_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "")
    assert shared_server(StoreSettings()) is None
