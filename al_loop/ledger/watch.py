"""Waiting, after the planned rounds, until enough has come in from outside to start a further one."""

import time

from al_loop.config import WatchSettings
from al_loop.ledger import Ledger
from al_loop.utils.progress import Announce, show_nothing


class Watch:
    """Looks at the ledger now and then.

    Args:
        settings: how much starts a round, and how often to look.
        tell: called with a sentence when the waiting begins and when it ends.
    """

    def __init__(self, settings: WatchSettings, tell: Announce = show_nothing) -> None:
        self._settings = settings
        self._tell = tell

    def wait(self, ledger: Ledger) -> bool:
        """Return True once there is enough for a round; False when Ctrl-C or SIGTERM ends the watching."""
        wanted = self._settings
        self._tell(
            f"Watching for {wanted.suspects} harvested suspects or {wanted.labels} imported labels; Ctrl-C ends this."
        )
        try:
            while True:
                come = ledger.waiting()
                if come.suspects >= wanted.suspects or come.labels >= wanted.labels:
                    self._tell(f"{come.suspects} harvested suspects and {come.labels} imported labels have come in.")
                    return True
                time.sleep(wanted.every_s)
        except KeyboardInterrupt:
            self._tell("The watching has ended.")
            return False
