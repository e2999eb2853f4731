"""Wait after the planned rounds until enough new frames or labels have arrived to start a further one."""

import time

from al_loop.config import WatchSettings
from al_loop.ledger import Ledger
from al_loop.utils.progress import Announce, show_nothing


class Watch:
    """Polls the ledger for new frames and labels.

    Args:
        settings: numbers of frames and labels that start a round, and the interval of polls.
        announce: called with a sentence when the waiting begins and when it ends.
    """

    def __init__(self, settings: WatchSettings, announce: Announce = show_nothing) -> None:
        self._settings = settings
        self._announce = announce

    def wait(self, ledger: Ledger) -> bool:
        """Return True once there is enough for a round; False when Ctrl-C or SIGTERM ends the wait."""
        needed = self._settings
        self._announce(
            f"Watching for {needed.suspects} harvested suspects or {needed.labels} imported labels; Ctrl-C ends this."
        )
        try:
            while True:
                new = ledger.waiting()
                if new.suspects >= needed.suspects or new.labels >= needed.labels:
                    self._announce(f"{new.suspects} harvested suspects and {new.labels} imported labels have arrived.")
                    return True
                time.sleep(needed.every_s)
        except KeyboardInterrupt:
            self._announce("The watching has ended.")
            return False
