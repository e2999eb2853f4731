"""Waiting, after the planned rounds, until enough has come in from outside to start a further one."""

import sys
import threading
from collections.abc import Callable

from al_loop.config import WatchSettings
from al_loop.ledger import Ledger


class Watch:
    """Looks at the ledger now and then.

    Args:
        settings: how much starts a round, and how often to look.
        ended: set by whoever wants the watching to end; a round that has begun is finished first.
        tell: called with a sentence when the waiting begins and when it ends.
    """

    def __init__(
        self, settings: WatchSettings, ended: threading.Event, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        self._settings = settings
        self._ended = ended
        self._tell = tell

    def wait(self, ledger: Ledger) -> bool:
        """Return True once there is enough for a round; False when the watching is ended, by Ctrl-C too."""
        wanted = self._settings
        self._tell(
            f"Watching for {wanted.suspects} harvested suspects or {wanted.labels} imported labels; "
            "Ctrl-C or the end of standard input ends this."
        )
        try:
            while not self._ended.is_set():
                come = ledger.waiting()
                if come.suspects >= wanted.suspects or come.labels >= wanted.labels:
                    self._tell(f"{come.suspects} harvested suspects and {come.labels} imported labels have come in.")
                    return True
                self._ended.wait(wanted.every_s)
        except KeyboardInterrupt:
            self._ended.set()
        self._tell("The watching has ended.")
        return False


def end_of_input() -> threading.Event:
    """An event that is set when standard input ends."""
    ended = threading.Event()

    def read() -> None:
        if sys.stdin is not None:
            for _ in sys.stdin.buffer:
                pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    return ended
