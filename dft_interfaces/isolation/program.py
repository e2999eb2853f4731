"""The program of ``IsolatedEngine``'s process: it handles one request after another, as JSON on a socket.

The engine's output goes to the caller's log.
"""

import contextlib
import faulthandler
import json
import os
import sys
import traceback
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from pydantic import TypeAdapter

from dft_interfaces.engine import DFTEngine
from dft_interfaces.engines import build_engine
from dft_interfaces.files.atoms_json import atoms_from_dict
from dft_interfaces.files.label_json import label_as_dict
from dft_interfaces.output_tail import ECHO
from dft_interfaces.settings import EngineSettings


def serve(channel: int) -> None:
    """Handle requests until the other end of the socket is closed."""
    ECHO.set(sys.stderr)
    faulthandler.enable()  # a segmentation fault leaves a traceback in the log
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # only the guard may read standard input
    os.set_inheritable(channel, False)
    methods, server_pid, state = _Methods(), os.getpid(), _ProcessState()
    with Connection(channel) as connection:
        while True:
            try:
                request = json.loads(connection.recv_bytes())
            except EOFError:
                return
            number = request.pop("number")
            reply = _reply(methods, request.pop("ask"), request)
            if os.getpid() != server_pid:
                # A second reply to this request would be taken for the reply to the next one.
                os.write(2, b"the engine forked, and the calculation returned in the copy too: the copy was ended\n")
                os._exit(0)
            state.restore()
            connection.send_bytes(json.dumps({**reply, "number": number}).encode())


class _ProcessState:
    """Process state that a calculation may change: current folder, umask, standard input and outputs."""

    def __init__(self) -> None:
        self._folder = os.open(".", os.O_RDONLY)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._streams = [os.dup(stream) for stream in range(3)]

    def restore(self) -> None:
        """Restore everything; an engine that closes all its files closes the streams to the caller too."""
        for stream, kept in enumerate(self._streams):
            os.dup2(kept, stream)
        os.fchdir(self._folder)
        os.umask(self._umask)
        with contextlib.suppress(OSError, ValueError):  # the engine closed the object
            sys.stdout.flush()


class _Methods:
    """One method for each kind of request; values are JSON."""

    _engine: DFTEngine

    def build(self, settings: dict[str, Any]) -> dict[str, Any]:
        self._engine = build_engine(TypeAdapter(EngineSettings).validate_python(settings))
        return {
            "level_of_theory": asdict(self._engine.level_of_theory),
            "properties": sorted(self._engine.properties),
        }

    def ping(self) -> None:
        """Reply at once."""

    def label(self, atoms: dict[str, Any], strategy: int | None) -> dict[str, Any]:
        retry = None if strategy is None else self._engine.ladder[strategy]
        return label_as_dict(self._engine.label(atoms_from_dict(atoms), retry))

    def estimate_s(self, atoms: dict[str, Any]) -> float:
        return self._engine.estimate_s(atoms_from_dict(atoms))

    def unknown_elements(self, symbols: list[str]) -> list[str]:
        return self._engine.unknown_elements(symbols)


def _reply(methods: _Methods, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": getattr(methods, name)(**arguments)}
    except Exception as error:  # noqa: BLE001 - the caller raises it again
        return {"error": type(error).__name__, "text": str(error), "traceback": traceback.format_exc()}
