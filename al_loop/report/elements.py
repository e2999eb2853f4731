"""Force errors of each element."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from al_loop.report.scatter import NEVER_TRAINED, TEST
from al_loop.report.style import FOUNDATION, SERVED, axes, png


@dataclass(frozen=True)
class ElementError:
    """Mean absolute errors of the force components on the atoms of one element.

    Attributes:
        symbol: the element.
        atoms: how many atoms of how many frames the figures rest on.
        frames: number of frames.
        foundation: eV/Å.
        served: eV/Å.
    """

    symbol: str
    atoms: int
    frames: int
    foundation: float
    served: float


def element_errors(evaluation: dict[str, NDArray[Any]]) -> list[ElementError]:
    """Return the errors on test frames and those never trained on, in the order of atomic numbers."""
    index, numbers = evaluation["frame_index"], evaluation["atomic_numbers"]
    measured = np.isin(evaluation["role"], (TEST, NEVER_TRAINED))[index]
    dft = evaluation["forces_dft"]
    errors = [np.abs(evaluation[f"forces_{name}"] - dft) for name in ("foundation", "served")]
    found = []
    for number in sorted({int(n) for n in numbers[measured]}):
        mine = measured & (numbers == number)
        means = (float(error[mine].mean()) for error in errors)
        found.append(ElementError(chemical_symbols[number], int(mine.sum()), len(set(index[mine])), *means))
    return found


def element_bars(errors: list[ElementError]) -> bytes | None:
    """Foundation and served model side by side for each element."""
    if not errors:
        return None
    x = np.arange(len(errors))
    with axes("Force error by element") as panel:
        for offset, name, colour in ((-0.2, "foundation", FOUNDATION), (0.2, "served", SERVED)):
            heights = np.nan_to_num([getattr(error, name) for error in errors], posinf=0.0)
            panel.bar(x + offset, heights, 0.38, color=colour, label=name)
        panel.set_xticks(x, [error.symbol for error in errors])
        panel.set_xlim(-0.6, max(len(errors), 3) - 0.4)
        panel.grid(visible=False, axis="x")
        panel.set_ylabel("mean absolute error (eV/Å)")
        panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        return png(panel)
