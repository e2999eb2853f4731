"""The command line."""

from al_loop.cli import data_commands as data_commands
from al_loop.cli import ipi_command as ipi_command
from al_loop.cli import monitor_command as monitor_command
from al_loop.cli import ranking_commands as ranking_commands
from al_loop.cli import recalibrate_command as recalibrate_command
from al_loop.cli import validate_command as validate_command
from al_loop.cli.commands import app, main

__all__ = ["app", "main"]
