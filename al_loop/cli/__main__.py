"""``python -m al_loop.cli`` is ``al-loop``."""

from al_loop.cli import main

main()
