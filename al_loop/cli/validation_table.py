"""The tables of ``al-loop validate``."""

from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from al_loop.tools.validation.results import Compared, Outcome, Row, Validation

MARKS = {
    Outcome.PASS: "[green]ok[/]",
    Outcome.FAIL: "[bold red]fail[/]",
    Outcome.NOT_COMPARED: "[dim]-[/]",
}


def print_validation(validation: Validation, console: Console | None = None) -> None:
    """Print quantities and orderings of models and reference, and which model is closest."""
    console = console or Console()
    comparison = validation.comparison
    console.print(f"Reference: {validation.reference}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("unit", no_wrap=True)
    for heading in ("reference", "±"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in comparison.models:
        table.add_column(escape(name), justify="right", overflow="fold")
    for (check, structure), rows in groupby(comparison.rows, lambda row: (row.quantity.check, row.quantity.structure)):
        table.add_row(f"[bold]{escape(f'{check}, {structure}')}[/]")
        for row in rows:
            _add(table, row, comparison.models)
    console.print(table, highlight=False)
    _print_orders(validation, console)
    _print_notes(validation, console)
    for name in comparison.models:
        found = comparison.verdicts(name)
        counts = ", ".join(f"{found.count(verdict)} {verdict}" for verdict in Outcome)
        console.print(f"{name}: {counts}", highlight=False, markup=False)
    console.print(validation.conclusion, highlight=False, markup=False)


def _add(table: Table, row: Row, models: tuple[str, ...]) -> None:
    quantity = row.quantity
    cells = [_number(quantity.value), _number(row.tolerance, 2), *(_cell(row.compared[name]) for name in models)]
    table.add_row(f"  {escape(quantity.name)}", quantity.unit, *cells)


def _print_orders(validation: Validation, console: Console) -> None:
    for order in validation.comparison.orders:
        console.print(f"{order.check}, order of {order.group}: {order.order}", highlight=False, markup=False)
        for name, compared in order.compared.items():
            result = compared.note if compared.value is None else f"{compared.value:.0f} of {order.pairs} pairs wrong"
            note = f" ({compared.note})" if compared.value and compared.note else ""
            console.print(f"  {MARKS[compared.verdict]} {escape(f'{name}: {result}{note}')}", highlight=False)


def _print_notes(validation: Validation, console: Console) -> None:
    """Print each reason once: why a value is missing or not compared, or why it fails beyond what numbers show."""
    lines: dict[str, None] = {}
    for row in validation.comparison.rows:
        where = f"{row.quantity.check}, {row.quantity.structure}, {row.quantity.name}"
        if row.quantity.value is None and row.quantity.note:
            lines[f"{where}: the reference: {row.quantity.note}"] = None
        for name, compared in row.compared.items():
            if compared.note and compared.verdict is not Outcome.PASS and compared.note != row.quantity.note:
                who = "" if compared.verdict is Outcome.NOT_COMPARED else f"{name}: "
                lines[f"{where}: {who}{compared.note}"] = None
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False)


def _cell(compared: Compared) -> str:
    return f"{_number(compared.value)} {MARKS[compared.verdict]}"


def _number(value: float | None, digits: int = 5) -> str:
    return "-" if value is None else f"{value:.{digits}g}"
