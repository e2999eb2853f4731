"""Servers that are not as a ledger wants them: slow, silent, of another version, with users who may not write."""

import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import bson
import pymongo
from pymongo.errors import ConnectionFailure

from al_loop.ledger.mongod import find_mongod

PATIENCE_S = 60
ROOT, PASSWORD = "root", "correct-horse-4711"


class GuardedServer:
    """A replica set of one member that asks for a password; ``root`` may do anything but is no chemist's user."""

    def __init__(self, folder: Path):
        self.socket = folder / "m.sock"
        self._folder = folder
        (folder / "data").mkdir()
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_text("a" * 64)
        options = {"--replSet": "rs0", "--dbpath": folder / "data", "--bind_ip": self.socket, "--port": 0}
        options |= {"--keyFile": key, "--oplogSize": 16, "--wiredTigerCacheSizeGB": 0.25}
        command = [find_mongod(), "--nounixsocket", "--quiet", "--networkMessageCompressors", "disabled"]
        command += [part for option in options.items() for part in option]
        with (folder / "log").open("ab") as log:
            words = [str(part) for part in command]
            self.process = subprocess.Popen(words, stdout=log, env={**os.environ, "LC_ALL": "C"})
        nobody = self.uri("").replace("@", "")
        member = {"_id": 0, "host": str(self.socket)}
        self._ask(nobody, "replSetInitiate", {"_id": "rs0", "members": [member]})
        self._until(lambda: self._ask(nobody, "hello").get("isWritablePrimary"))
        self._ask(nobody, "createUser", ROOT, pwd=PASSWORD, roles=["root"])
        for user, role in (("writer", "readWrite"), ("reader", "read")):
            self.root("createUser", user, pwd=PASSWORD, roles=[{"role": role, "db": "al_loop"}])
        self.root("createUser", "stranger", pwd=PASSWORD, roles=[])

    def uri(self, user: str, password: str = PASSWORD) -> str:
        who = f"{user}:{password}" if user else ""
        options = "authSource=admin&directConnection=true&serverSelectionTimeoutMS=2000"
        return f"mongodb://{who}@{quote(str(self.socket), safe='')}/al_loop?{options}"

    def root(self, command, *arguments, **details):
        return self._ask(self.uri(ROOT), command, *arguments, **details)

    @contextmanager
    def read_only(self):
        """Users without a special right may not write, as while a server is moved."""
        self.root("setUserWriteBlockMode", 1, **{"global": True})
        try:
            yield
        finally:
            self.root("setUserWriteBlockMode", 1, **{"global": False})

    @contextmanager
    def secondary(self):
        """The member is no primary for a while."""
        with suppress(ConnectionFailure):
            self.root("replSetStepDown", 60, secondaryCatchUpPeriodSecs=0, force=True)
        self._until(lambda: self.root("hello").get("secondary"))
        try:
            yield
        finally:
            self.root("replSetFreeze", 0)
            self._until(lambda: self.root("hello").get("isWritablePrimary"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _ask(self, uri, command, *arguments, **details):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with pymongo.MongoClient(uri) as client:
                    return client.admin.command(command, *arguments, **details)
            except ConnectionFailure:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-3000:]
                time.sleep(0.1)

    def _until(self, holds):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.05)


@contextmanager
def listening(path: Path, serve):
    """Call ``serve`` with each connection to a unix socket, in a thread of its own; yields the URI."""
    connections = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)

        def accept():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"mongodb://{quote(str(path), safe='')}/?directConnection=true"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


def _quietly(serve, connection):
    with suppress(OSError, EOFError):
        serve(connection)


def of_version(least: int, most: int):
    """Answers every command as a server would that speaks these versions of the wire protocol."""

    def serve(connection):
        while True:
            header, body = _message(connection)
            asked = header[1]
            answer = {"ok": 1.0, "isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16777216}
            answer |= {"maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000}
            document = bson.encode({**answer, "minWireVersion": least, "maxWireVersion": most})
            if header[3] == 2004:  # OP_QUERY, the first word of every client
                reply = struct.pack("<iqii", 8, 0, 0, 1) + document
                kind = 1
            else:
                reply, kind = struct.pack("<IB", 0, 0) + document, 2013
            connection.sendall(struct.pack("<iiii", 16 + len(reply), 1, asked, kind) + reply)
            assert body

    return serve


def silent(connection):
    """Take what comes and say nothing."""
    while connection.recv(65536):
        pass


def relay(server: Path, delay_s: float = 0.0, open_: threading.Event | None = None):
    """Pass everything on to a real server, its replies later; none while ``open_`` is cleared."""

    def serve(connection):
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(server))
            threading.Thread(target=_quietly, args=(lambda _: _pump(connection, upstream), None), daemon=True).start()
            while data := upstream.recv(1 << 20):
                time.sleep(delay_s)
                if open_ is not None:
                    open_.wait()
                connection.sendall(data)

    return serve


def _pump(source, sink):
    while data := source.recv(1 << 20):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_RDWR)


def _message(connection):
    header = struct.unpack("<iiii", _exactly(connection, 16))
    return header, _exactly(connection, header[0] - 16)


def _exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
