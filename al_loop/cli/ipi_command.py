"""``al-loop ipi``: ``al_loop.tools.ipi.driver`` on the command line."""

import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from al_loop.cli.commands import app
from al_loop.cli.errors import guarded


@app.command()
@guarded
def ipi(
    structure: Annotated[Path, typer.Argument(help="Intact structure: its atoms in the order that i-PI uses.")],
    model: Annotated[Path, typer.Option(help="Folder of a checkpoint, or a campaign's YAML (its served model).")],
    socket: Annotated[str, typer.Option(help="Name of i-PI's unix socket: the address of its ffsocket.")],
    foundation: Annotated[str | None, typer.Option(help="Foundation of a checkpoint, as for predict.")] = None,
    uncertainty: Annotated[
        Literal["energy", "probe", "exact"],
        typer.Option(help="exact: forces of all members; probe: noisy, cheaper; energy: free, no force uncertainty."),
    ] = "exact",
    members: Annotated[
        bool, typer.Option("--members", help="Add each member's energy and forces, for i-PI's ffcommittee.")
    ] = False,
    sockets_prefix: Annotated[str, typer.Option(help="Prefix of the socket's path, as of i-PI.")] = "/tmp/ipi_",  # noqa: S108
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for i-PI to open the socket.")] = 60.0,
    any_periodicity: Annotated[
        bool, typer.Option("--any-periodicity", help="Accept a periodicity that the model was not trained on.")
    ] = False,
) -> None:
    """Serve a committee to i-PI over a unix socket, with uncertainties and verdicts in its extras."""
    from al_loop.tools.ipi.driver import ipi_driver
    from al_loop.tools.ipi.pes import CommitteePES

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # libraries on their own code
        pes = CommitteePES(
            model,
            structure,
            foundation=foundation,
            uncertainty=uncertainty,
            members=members,
            any_periodicity=any_periodicity,
        )
        evaluated = ipi_driver(pes, socket, prefix=sockets_prefix, wait_s=wait)
    typer.echo(f"i-PI has ended: {evaluated} structures evaluated.")
