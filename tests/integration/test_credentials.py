"""A campaign on a server of the user's own, with a password and TLS: the password shows nowhere."""

import datetime as dt
import ipaddress
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from slurm import free_ports

from al_loop.config import StoreSettings
from al_loop.errors import InputError
from al_loop.ledger.mongod import find_mongod
from al_loop.ledger.store import shared_server

pytestmark = pytest.mark.long

USER, PASSWORD = "chemist", "correct-horse-battery-staple-4711"
ADD_USER = (
    "import sys, pymongo\n"
    "client = pymongo.MongoClient(sys.argv[1])\n"
    "client.admin.command('createUser', sys.stdin.read(), pwd=sys.argv[2][::-1], roles=['root'])\n"
)
DUMP = (
    "import os, pymongo\n"
    "client = pymongo.MongoClient(os.environ['MONGODB_URI'])\n"
    "for name in client['al_loop'].list_collection_names():\n"
    "    for document in client['al_loop'][name].find():\n"
    "        print(name, document)\n"
)


def make_certificate(path):
    """Write a key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + private)


@pytest.fixture
def server(tmp_path):
    """The URI of a mongod that asks for a password and TLS."""
    folder, certificate = tmp_path / "server", tmp_path / "certificate.pem"
    folder.mkdir()
    make_certificate(certificate)
    (port,) = free_ports(1)
    options = ["--dbpath", folder, "--port", port, "--bind_ip", "127.0.0.1", "--nounixsocket", "--auth", "--tlsMode"]
    options += ["requireTLS", "--tlsCertificateKeyFile", certificate, "--wiredTigerCacheSizeGB", "0.25"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([find_mongod(), *map(str, options)], stdout=log)
    place = f"127.0.0.1:{port}/?authSource=admin&tls=true&tlsCAFile={certificate}"
    words = [sys.executable, "-c", ADD_USER, f"mongodb://{place}", PASSWORD[::-1]]
    subprocess.run(words, input=USER, text=True, check=True, timeout=60)
    yield f"mongodb://{USER}:{PASSWORD}@{place}"
    process.terminate()
    process.wait()


def command(campaign, *words, **environment):
    """Run a command of the CLI and return its exit code and all it said."""
    done = campaign.call(*words, campaign.config, **environment)
    return done.returncode, done.stdout + done.stderr


def arguments_of_all_processes():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:  # it ended meanwhile
            continue


def leaks(folder, secret=PASSWORD):
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_password_shows_nowhere(server, small_campaign, tmp_path):
    secret = tmp_path / "uri.txt"
    secret.touch(mode=0o600)
    secret.write_text(server + "\n")
    campaign = small_campaign(store={"uri_file": "uri.txt"})
    process = campaign.start()
    said = []
    while process.poll() is None:
        assert not any(PASSWORD.encode() in words for words in arguments_of_all_processes())
        time.sleep(0.2)
    assert process.returncode == 0, campaign.output()
    for words in (["status"], ["report"], ["doctor"]):
        code, text = command(campaign, *words)
        assert code == 0, text
        said.append(text)
    dumped = subprocess.run(
        [sys.executable, "-c", DUMP],
        env=campaign.environment(MONGODB_URI=server),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "copper" in dumped
    assert not (campaign.folder / "ledger").exists()
    assert PASSWORD not in "".join([dumped, *said])
    assert leaks(tmp_path) == [str(secret)]

    _fails_without_telling(campaign, server)


def _fails_without_telling(campaign, server):
    """A wrong password, a wrong certificate, a server that is gone: one message, without any of the two passwords."""
    campaign.config.write_text(campaign.config.read_text().replace("uri_file: uri.txt", "uri: null"))
    code, text = command(campaign, "status", "--json", MONGODB_URI=server)
    assert code == 0
    assert len(json.loads(text)["rounds"]) == 1
    for wrong in (server.replace(PASSWORD, "wrong-" + PASSWORD), server.partition("&tlsCAFile")[0]):
        code, text = command(campaign, "status", MONGODB_URI=wrong)
        assert code == 2, text
        assert "127.0.0.1" in text
        assert PASSWORD not in text
        assert "Traceback" not in text


def test_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "uri"
    path.write_text(f"mongodb://{USER}:{PASSWORD}@nowhere")
    path.chmod(0o640)
    with pytest.raises(InputError, match=r"others may read .*chmod 600") as refused:
        shared_server(StoreSettings(uri_file=path))
    assert PASSWORD not in str(refused.value)
    path.chmod(0o600)
    assert PASSWORD in (shared_server(StoreSettings(uri_file=path)) or "")


@pytest.mark.parametrize("text", ["", "two words", "one\ntwo"])
def test_a_file_without_one_uri_is_refused(tmp_path, text):
    path = tmp_path / "uri"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(InputError, match="expected one MongoDB URI"):
        shared_server(StoreSettings(uri_file=path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"store\.uri_file: .*cannot be read"):
        shared_server(StoreSettings(uri_file=tmp_path / "missing"))
    assert PASSWORD not in repr(StoreSettings(uri=f"mongodb://u:{PASSWORD}@h"))
