"""A quantity from a measurement that may fail."""

from collections.abc import Callable

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.quantity import Quantity


class Remembered:
    """Numbers that are calculated once each; failures are remembered too."""

    def __init__(self) -> None:
        self._known: dict[object, float | NoAnswerError] = {}

    def get(self, key: object, calculate: Callable[[], float]) -> float:
        """Return a number, calculated at the first request.

        Args:
            key: which number it is.
            calculate: how to get it.

        Raises:
            NoAnswerError: it could not be had, now or the first time.
        """
        if key not in self._known:
            try:
                self._known[key] = calculate()
            except NoAnswerError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, NoAnswerError):
            raise NoAnswerError(str(known))
        return known


def measured(
    check: str,
    structure: str,
    name: str,
    unit: str,
    measure: Callable[[], float],
    *,
    order_group: str = "",
    note: str = "",
) -> Quantity:
    """Return the quantity; if it fails, without value and with the reason as its note.

    Args:
        check: its name.
        structure: that of the structure.
        name: what is measured.
        unit: of the value.
        measure: gives the value, or raises ``NoAnswerError``.
        order_group: as in ``Quantity``.
        note: of a value that could be had.
    """
    try:
        value = float(measure())
    except NoAnswerError as error:
        return Quantity(check, structure, name, unit, None, order_group, str(error))
    return Quantity(check, structure, name, unit, value, order_group, note)
