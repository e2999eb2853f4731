"""The command line."""

from al_loop.cli import narrow_commands as narrow_commands
from al_loop.cli.commands import app, main

__all__ = ["app", "main"]
