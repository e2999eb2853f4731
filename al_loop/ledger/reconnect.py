"""Waiting for a database that has gone away, instead of ending what may have run for weeks."""

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import pymongo
from pymongo.errors import ConnectionFailure, CursorNotFound, PyMongoError

P = ParamSpec("P")
R = TypeVar("R")

RETRY_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 5.0
REVIVALS: Final = 3  # of a server that dies each time it is asked for the same
LOST: Final = (ConnectionFailure, CursorNotFound)  # a server that came back knows no cursor of before

# Under the name that a worker shows in its log and the command line on the terminal.
logger = logging.getLogger("al_loop")


class Patience:
    """Repeats what failed because the database was away, until it is back.

    Args:
        wait_s: for how long, s; with 0 the first failure is raised.
        ping: asks the server for an answer; raises ``PyMongoError`` while there is none.
        revive: starts the server again, where it is the campaign's own and has died; returns whether it did.
        name: of the server, in messages.
    """

    def __init__(
        self,
        wait_s: float = 0.0,
        ping: Callable[[], object] = lambda: None,
        revive: Callable[[], bool] = lambda: False,
        name: str = "",
    ) -> None:
        self._wait_s = wait_s
        self._ping = ping
        self._revive = revive
        self._name = name
        self._waiting = 0
        self._lock = threading.Lock()

    def through(self, action: Callable[[], R]) -> R:
        """Return what ``action`` returns, which may be called several times. Who has given up waits no more.

        Raises:
            ConnectionFailure: the database was away for too long, or dies of the action.
            CursorNotFound: the same.
        """
        begun: float | None = None
        revivals = 0
        while True:
            try:
                result = action()
            except LOST as error:
                begun = time.monotonic() if begun is None else begun
                if revivals == REVIVALS:
                    self._wait_s = 0.0
                    raise
                revivals += self._wait(begun, error)
            else:
                return result

    def _wait(self, begun: float, error: PyMongoError) -> bool:
        """Return once the server answers; whether it was started again.

        Raises:
            PyMongoError: ``error``, once the time is over.
        """
        with self._lock:
            first, self._waiting = self._waiting == 0, self._waiting + 1
        try:
            if first and self._wait_s > 0:
                logger.warning(
                    "The database (%s) does not answer (%s). Waiting for it for up to %g s (store.wait_s); nothing is "
                    "lost meanwhile.",
                    self._name,
                    type(error).__name__,
                    self._wait_s,
                )
            revived = self._until_answered(begun, error)
            if first:
                logger.warning("The database is back after %.0f s.", time.monotonic() - begun)
            return revived
        finally:
            with self._lock:
                self._waiting -= 1

    def _until_answered(self, begun: float, error: PyMongoError) -> bool:
        revived = False
        while True:
            left_s = begun + self._wait_s - time.monotonic()
            if left_s <= 0:
                self._wait_s = 0.0
                raise error
            time.sleep(min(RETRY_S, left_s))
            revived |= self._revive()
            try:
                with pymongo.timeout(PROBE_TIMEOUT_S):
                    self._ping()
            except PyMongoError:
                continue
            return revived


class _Patient(Protocol):
    patience: Patience


def retry_on_disconnect(method: "Callable[Concatenate[Any, P], R]") -> "Callable[Concatenate[Any, P], R]":
    """Make a method of a ledger, which may be repeated as a whole, wait for a database that is away."""

    @functools.wraps(method)
    def call(self: _Patient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.patience.through(lambda: method(self, *args, **kwargs))

    return call


def in_parts(method: "Callable[P, R]") -> "Callable[P, R]":
    """Mark a method that must not be repeated as a whole: its parts wait by themselves."""
    method.in_parts = True  # type: ignore[attr-defined]
    return method


def all_retry_on_disconnect(ledger: type[R]) -> type[R]:
    """Make every public method of a ledger wait for a database that is away, those ``in_parts`` left out."""
    for name in dir(ledger):
        method = getattr(ledger, name)
        if name.startswith("_") or not callable(method) or getattr(method, "in_parts", False):
            continue
        setattr(ledger, name, retry_on_disconnect(method))
    return ledger
