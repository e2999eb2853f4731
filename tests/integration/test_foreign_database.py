"""A database that somebody else set up: wrong URIs, missing rights, other versions, slow and silent servers."""

import threading
import time
from pathlib import Path

import pymongo
import pytest
from test_ledger_lost import begin, config
from unwilling_servers import PASSWORD, GuardedServer, listening, of_version, relay, silent

from al_loop.config import StoreSettings
from al_loop.errors import DatabaseLostError, InputError
from al_loop.ledger import connection, open_ledger
from al_loop.ledger.connection import connected
from al_loop.ledger.identity import existing_campaign
from al_loop.ledger.store import shared_server
from al_loop.records import Role
from al_loop.report.status import campaign_status

USER, SECRET = "chemist", "battery-staple"
HOST = f"mongodb://{USER}:{SECRET}@127.0.0.1:1/db"


@pytest.fixture(autouse=True)
def short_time(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 1.0)


def refusal(uri, words=""):
    """What is said of a URI that cannot be used, within the time that a person waits."""
    begun = time.monotonic()
    with pytest.raises(InputError, match=words) as refused, connected(uri):
        pass
    assert time.monotonic() - begun < 10
    message = str(refused.value)
    assert SECRET not in message
    assert PASSWORD not in message
    assert "MONGODB_URI (" in message
    return message


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"mongodb://chemist:{SECRET}@h:99999", "h:99999 cannot be used .*between 0 and 65535"),
        (f"mongodb://chemist:{SECRET}@h:port", "h:port cannot be used .*Port"),
        (f"mongodb://chemist:{SECRET}@[::1", "IPv6"),
        (f"mongodb://chemist:{SECRET}%zz@h", "escaped"),
        (f"mongodb://chemist:{SECRET}/x@h", "cannot be used"),
        (f"http://chemist:{SECRET}@h", "scheme"),
        ("mongodb://", "hostname"),
        ("mongodb://h/da ta", "Bad database name"),
        (f"{HOST}?foo=1", "Unknown option: foo"),
        (f"{HOST}?tls=maybe", "tls must be"),
        (f"{HOST}?authMechanism=FOO", "authmechanism must be in"),
        (f"{HOST}?authMechanism=MONGODB-X509", "not supported by MONGODB-X509"),
        (f"{HOST}?w=-1", "w must be"),
        (f"{HOST}?connectTimeoutMS=1e99", "connecttimeoutms"),
        (f"{HOST}?serverSelectionTimeoutMS=99999999999999", "serverselectiontimeoutms"),
        (f"{HOST}?journal=maybe", "journal must be"),
        (f"{HOST}?directConnection=true&loadBalanced=true", "loadBalanced"),
        (f"{HOST}?heartbeatFrequencyMS=1", "less than 500"),
        (f"{HOST}?server_api=1", "server_api"),
        (f"{HOST}?&&", "key=value"),
        ("mongodb://%2Fnowhere%2Fm.sock", "/nowhere/m.sock did not answer .*No such file"),
    ],
)
def test_a_uri_that_cannot_be_used(uri, words):
    refusal(uri, words)


@pytest.mark.parametrize("option", ["tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile"])
@pytest.mark.parametrize("name", ["missing.pem", "folder", "text.pem", "binary.pem", "odd%FF.pem", "x" * 300])
def test_a_certificate_that_is_none(tmp_path, option, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "binary.pem").write_bytes(b"\xff\x00" * 50)
    message = refusal(f"{HOST}?tls=true&{option}={tmp_path}/{name}", f"which {option} names")
    assert str(tmp_path) in message
    assert "PEM" in message


def test_a_certificate_that_is_damaged(tmp_path):
    path = tmp_path / "damaged.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    refusal(f"{HOST}?tls=true&tlsCAFile={path}", f"^{path}, which tlsCAFile names")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"uri: [mongodb://h", b"\0\n\0"])
def test_a_file_with_another_content_than_a_uri(tmp_path, content):
    path = tmp_path / "uri"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"store\.uri_file: .*{path}"):
        shared_server(StoreSettings(uri_file=path))
    with pytest.raises(InputError, match=r"store\.uri_file: .* cannot be read \(is a directory\)"):
        path.chmod(0o700)
        shared_server(StoreSettings(uri_file=tmp_path))


@pytest.mark.parametrize(("least", "most", "words"), [(0, 5, "requires at least"), (900, 901, "supports up to")])
def test_a_server_of_another_version(tmp_path, least, most, words):
    with listening(tmp_path / "m.sock", of_version(least, most)) as uri:
        message = refusal(uri, rf"has a version that pymongo {pymongo.version} does not support .*{words}")
    assert str(tmp_path / "m.sock") in message


def test_a_server_that_says_nothing(tmp_path):
    with listening(tmp_path / "m.sock", silent) as uri:
        refusal(uri, "did not answer within 1 s")


def test_a_slow_server_is_a_server(store, mongo_uri, tmp_path):
    server = Path(pymongo.uri_parser.parse_uri(mongo_uri)["nodelist"][0][0])
    with listening(tmp_path / "m.sock", relay(server, delay_s=0.05)) as uri:
        slow = StoreSettings(uri=uri.replace("/?", f"/{store.uri.rpartition('/')[2].partition('?')[0]}?"))
        begin(config(tmp_path / "run", slow))
        assert campaign_status(config(tmp_path / "run", slow))["state"] == "stopped"


def test_a_server_that_falls_silent_is_lost_in_bounded_time(store, mongo_uri, tmp_path):
    server, flows = Path(pymongo.uri_parser.parse_uri(mongo_uri)["nodelist"][0][0]), threading.Event()
    flows.set()
    with listening(tmp_path / "m.sock", relay(server, open_=flows)) as uri:
        name = store.uri.rpartition("/")[2].partition("?")[0]
        quick = f"{uri}&heartbeatFrequencyMS=500&connectTimeoutMS=1000&serverSelectionTimeoutMS=2000".replace(
            "/?", f"/{name}?"
        )
        begun = time.monotonic()
        with pytest.raises(DatabaseLostError, match=f"{tmp_path / 'm.sock'}"):
            with open_ledger(StoreSettings(uri=quick, wait_s=2), tmp_path, "copper") as ledger:
                flows.clear()
                ledger.rounds()
        assert time.monotonic() - begun < 20
        flows.set()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    running = GuardedServer(tmp_path_factory.mktemp("rs"))
    try:
        yield running
    finally:
        running.kill()


def stores(server):
    return {user: StoreSettings(uri=server.uri(user), wait_s=1) for user in ("writer", "reader", "stranger")}


def test_credentials_and_rights(guarded, tmp_path):
    """Who may not write can look; who may not look is told so; nothing is written on the way."""
    store = stores(guarded)
    refusal(guarded.uri("writer", "wrong"), "refused the connection .*code 18")
    begin(config(tmp_path / "run", store["writer"]))
    before = contents(guarded)

    asked = config(tmp_path / "run", store["reader"])
    assert campaign_status(asked)["state"] == "stopped"
    with existing_campaign(asked, read_only=True) as ledger:
        assert ledger.labelled((Role.EXPLORE,)) == []
    for other in ("reader", "stranger"):
        with pytest.raises(InputError, match=r"m\.sock refuses what the ledger needs .*role readWrite") as refused:
            begin(config(tmp_path / other, store[other]))
        assert PASSWORD not in str(refused.value)
    with pytest.raises(InputError, match=r"refuses what the ledger needs .*role read on"):
        campaign_status(config(tmp_path / "run", store["stranger"]))
    assert contents(guarded) == before


def test_rights_that_are_taken_away(guarded, tmp_path):
    right = [{"role": "readWrite", "db": "al_loop"}]
    try:
        with pytest.raises(DatabaseLostError, match=r"refuses an operation that it allowed .*run the same command"):
            with open_ledger(stores(guarded)["writer"], tmp_path, "other") as ledger:
                guarded.root("revokeRolesFromUser", "writer", roles=right)
                ledger.finish_stage(0, "explore", 0.1, {})
    finally:
        guarded.root("grantRolesToUser", "writer", roles=right)


def test_a_server_that_takes_no_writes(guarded, tmp_path):
    store = stores(guarded)["writer"]
    asked = config(tmp_path / "run", store).model_copy(update={"name": "silver"})
    begin(asked)
    with guarded.read_only():
        assert campaign_status(asked)["state"] == "stopped"
        with pytest.raises(InputError, match=r"refuses what the ledger needs .*block"):
            begin(asked)
    with guarded.secondary():
        assert campaign_status(asked)["state"] == "stopped"
        with pytest.raises(InputError, match=r"a secondary of the replica set rs0.*whole replica set"):
            begin(asked)
    begin(asked)


def test_a_server_that_keeps_an_earlier_format(guarded, tmp_path):
    guarded.root("setFeatureCompatibilityVersion", "5.0")
    try:
        asked = config(tmp_path / "run", stores(guarded)["writer"]).model_copy(update={"name": "gold"})
        begin(asked)
        begin(asked)
        assert campaign_status(asked)["state"] == "stopped"
    finally:
        guarded.root("setFeatureCompatibilityVersion", "6.0")


def contents(server):
    """All documents but the note of the last trial."""
    with pymongo.MongoClient(server.uri("root")) as client:
        names = sorted(client["al_loop"].list_collection_names())
        return {name: list(client["al_loop"][name].find({"_id": {"$ne": "written"}}).sort("_id", 1)) for name in names}
