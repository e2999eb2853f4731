"""The command line."""

from al_loop.cli.commands import app, main

__all__ = ["app", "main"]
