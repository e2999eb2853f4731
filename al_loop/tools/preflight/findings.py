"""The findings of the doctor, and their table."""

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        subject: what was checked.
        ok: it is available.
        detail: version, place, or what is missing.
        remedy: how to fix it, empty if ``ok``.
        needed: required by the campaign (or every campaign).
        note: it is available, and ``detail`` is a note for the user.
    """

    subject: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True
    note: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the campaign cannot start because of this."""
        return self.needed and not self.ok


def print_findings(findings: list[Finding], console: Console | None = None) -> None:
    """Print the table, and a last line on whether anything required is missing."""
    console = console or Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark = _mark(finding)
        text = escape(finding.detail)
        if finding.remedy:
            text += f"\n[dim]mend:[/] {escape(finding.remedy)}"
        table.add_row(mark, escape(finding.subject), text)
    console.print(table, highlight=False)
    blocking = [finding.subject for finding in findings if finding.blocks]
    verdict = f"Needed and missing: {', '.join(blocking)}" if blocking else "Everything needed is available."
    console.print(verdict, markup=False, highlight=False)


def _mark(finding: Finding) -> str:
    if finding.ok:
        return "[yellow]note[/]" if finding.note else "[green]ok[/]"
    return "[bold red]missing[/]" if finding.needed else "[yellow]optional[/]"
