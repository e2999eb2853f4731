"""Whether the last line of a file of numbers is whole: a line end that lacks says nothing, what stands there does."""

from collections.abc import Sequence


def check_last_row(last: str, others: Sequence[str]) -> None:
    """Refuse a last row that a killed run or a full disk has cut.

    Args:
        last: the row, with its line end if it has one.
        others: the rows before it, of the same frame.

    Raises:
        ValueError: fewer words than the others; or no line end, and fewer decimals in the last number than the others'
            numbers of that column leave room for.
    """
    words, before = last.split(), [row.split() for row in others]
    if before and len(words) < min(map(len, before)):
        raise ValueError(f"it is cut off: its last row has {len(words)} columns, and the others {len(before[0])}")
    if not words or last[-1:].isspace():
        return
    place = len(words) - 1
    decimals = [_decimals(row[place]) for row in before if len(row) > place]
    if decimals and _decimals(words[-1]) < 2 * min(decimals) - max(decimals):
        raise ValueError(
            f"it seems cut off: its last number is {words[-1]}, without a line end and shorter than the others of its "
            "column; if it is complete, add a line end"
        )


def _decimals(word: str) -> int:
    return len(word.partition(".")[2])
