"""Serve a committee to i-PI over a unix socket, until i-PI ends."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.calculators.socketio import IPIProtocol

from al_loop.errors import CampaignError, InputError
from al_loop.tools.ipi.pes import Answer, CommitteePES
from al_loop.utils.progress import Advance, show_nothing

PREFIX = "/tmp/ipi_"  # noqa: S108 - where i-PI opens its unix sockets
_POLL_S = 0.1


def ipi_driver(
    pes: CommitteePES, name: str, *, prefix: str = PREFIX, wait_s: float = 60.0, advance: Advance = show_nothing
) -> int:
    """Answer i-PI's requests until it sends its exit message.

    Args:
        pes: the committee with its structure.
        name: of the unix socket, the ``address`` of i-PI's ``ffsocket``.
        prefix: of the socket's path, as i-PI's ``--sockets_prefix``.
        wait_s: how long to wait for i-PI to open the socket.
        advance: called with 1 for each structure.

    Returns:
        The number of structures evaluated.

    Raises:
        InputError: no socket after ``wait_s``, or a structure that is not the driver's or has no prediction.
        CampaignError: the socket closed before i-PI's exit message, or what it sent is not i-PI's protocol.
    """
    path = Path(prefix + name)
    with _connected(path, wait_s) as connection:
        return _Session(pes, connection, path, advance).run()


class _Session:
    """One connection: its protocol, and the answer that is waiting to be fetched."""

    def __init__(self, pes: CommitteePES, connection: socket.socket, path: Path, advance: Advance) -> None:
        self._pes = pes
        self._protocol = IPIProtocol(connection)
        self._path = path
        self._advance = advance
        self._answer: Answer | None = None
        self._initialized = False
        self._evaluated = 0

    def run(self) -> int:
        try:
            while (message := self._protocol.recvmsg()) != "EXIT":
                self._respond(message)
        except OSError as error:  # ASE's SocketClosed is one
            raise CampaignError(
                f"the socket {self._path} closed after {self._evaluated} structures, before i-PI's exit message: i-PI "
                "ended or was killed. Look at its output; then start it from its RESTART file, and this driver again"
            ) from error
        except (AssertionError, UnicodeDecodeError) as error:
            raise CampaignError(self._foreign("numbers that are not finite, or no i-PI message")) from error
        return self._evaluated

    def _respond(self, message: str) -> None:
        if message == "STATUS":
            self._protocol.sendmsg(self._state())
        elif message == "INIT":
            self._protocol.recvinit()
            self._initialized = True
        elif message == "POSDATA":
            cell, _, positions = self._protocol.recvposdata()
            self._answer = self._pes.evaluate([self._pes.frame(cell, positions)])[0]
            self._evaluated += 1
            self._advance(1)
        elif message == "GETFORCE" and self._answer is not None:
            self._send(*self._answer)
            self._answer = None
        else:
            raise CampaignError(self._foreign(f"{message!r} in state {self._state()}"))

    def _state(self) -> str:
        if not self._initialized:
            return "NEEDINIT"
        return "READY" if self._answer is None else "HAVEDATA"

    def _send(self, energy: float, forces: Any, virial: Any, extras: str) -> None:
        content = np.frombuffer(extras.encode(), dtype=np.byte)
        self._protocol.sendforce(energy * units.Ha, forces * (units.Ha / units.Bohr), virial * units.Ha, content)

    def _foreign(self, received: str) -> str:
        return f"the socket {self._path} sent {received}; expected i-PI's protocol (ffsocket without batch_size)"


@contextmanager
def _connected(path: Path, wait_s: float) -> Iterator[socket.socket]:
    until = time.monotonic() + wait_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        while True:
            try:
                connection.connect(str(path))
                break
            except OSError as error:
                if time.monotonic() > until or "too long" in str(error):
                    raise InputError(
                        f"no i-PI listens on the unix socket {path} ({error}); start i-PI first, with "
                        f'<ffsocket mode="unix"> and <address>{path.name.removeprefix("ipi_")}</address>'
                    ) from error
                time.sleep(_POLL_S)
        yield connection
