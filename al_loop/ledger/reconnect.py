"""Wait for a lost database and repeat the failed operation, instead of ending a long run."""

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
REVIVALS: Final = 3  # restarts of a server that dies of the same operation
LOST: Final = (ConnectionFailure, CursorNotFound)  # a restarted server has lost its cursors

# The logger that workers write to their log and the command line to the terminal.
logger = logging.getLogger("al_loop")


class Reconnector:
    """Repeats operations that failed because the database was away, until it is back.

    Args:
        wait_s: maximum time, s; with 0 the first failure is raised.
        ping: checks that the server responds; raises ``PyMongoError`` otherwise.
        revive: restarts the campaign's private server if it has died; returns whether it did.
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
        """Return the result of ``action``, which may be called several times. After a timeout no later call waits.

        Raises:
            ConnectionFailure: the database was away for too long, or dies of the action.
            CursorNotFound: the same.
        """
        started: float | None = None
        revivals = 0
        while True:
            try:
                result = action()
            except LOST as error:
                started = time.monotonic() if started is None else started
                if revivals == REVIVALS:
                    self._wait_s = 0.0
                    raise
                revivals += self._wait(started, error)
            else:
                return result

    def _wait(self, started: float, error: PyMongoError) -> bool:
        """Wait until the server responds; returns whether it was restarted.

        Raises:
            PyMongoError: ``error``, after the maximum time.
        """
        with self._lock:
            first, self._waiting = self._waiting == 0, self._waiting + 1
        try:
            if first and self._wait_s > 0:
                logger.warning(
                    "The database (%s) does not respond (%s). Waiting for it for up to %g s (store.wait_s); nothing is "
                    "lost meanwhile.",
                    self._name,
                    type(error).__name__,
                    self._wait_s,
                )
            revived = self._until_responding(started, error)
            if first:
                logger.warning("The database is back after %.0f s.", time.monotonic() - started)
            return revived
        finally:
            with self._lock:
                self._waiting -= 1

    def _until_responding(self, started: float, error: PyMongoError) -> bool:
        revived = False
        while True:
            left_s = started + self._wait_s - time.monotonic()
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


class _Reconnecting(Protocol):
    reconnector: Reconnector


def retry_on_disconnect(method: "Callable[Concatenate[Any, P], R]") -> "Callable[Concatenate[Any, P], R]":
    """Let a method of a ledger, which may be repeated as a whole, wait for a lost database."""

    @functools.wraps(method)
    def call(self: _Reconnecting, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.reconnector.through(lambda: method(self, *args, **kwargs))

    return call


def in_parts(method: "Callable[P, R]") -> "Callable[P, R]":
    """Mark a method that must not be repeated as a whole; its parts wait by themselves."""
    method.in_parts = True  # type: ignore[attr-defined]
    return method


def all_retry_on_disconnect(ledger: type[R]) -> type[R]:
    """Let every public method of a ledger wait for a lost database, except those marked ``in_parts``."""
    for name in dir(ledger):
        method = getattr(ledger, name)
        if name.startswith("_") or not callable(method) or getattr(method, "in_parts", False):
            continue
        setattr(ledger, name, retry_on_disconnect(method))
    return ledger
