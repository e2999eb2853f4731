"""The style of the report's figures, and their embedding in the page."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

FOUNDATION = "#8b939e"
SERVED = "#1b5e9b"
ACCENT = "#b4542d"
GOOD = "#4f8a72"
INK = "#2b3138"
GRID = "#e3e6ea"

CHECKS = {  # in the order in which they are stacked
    "none": ("trusted", GOOD),
    "uncalibrated": ("uncalibrated", "#b9bfc7"),
    "force_uncertainty": ("force uncertainty", SERVED),
    "latent_distance": ("latent distance", "#7a6aa8"),
    "physics": ("physics", ACCENT),
}

_STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "hatch.linewidth": 0.6,
}
_DPI = 160
SIZE_IN, STACKED_SIZE_IN = (5.4, 3.7), (5.4, 5.6)


@contextmanager
def axes(title: str) -> Iterator[Axes]:
    """Open a figure of one panel in the report's style; drawn without a display and without global state."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        FigureCanvasAgg(figure)
        panel = figure.add_subplot()
        panel.set_title(title)
        yield panel


@contextmanager
def stacked_axes(title: str) -> Iterator[tuple[Axes, Axes]]:
    """Open a figure of two panels above each other, with one x axis, in the report's style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=STACKED_SIZE_IN, layout="constrained")
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.set_title(title)
        yield upper, lower


def png(panel: Axes) -> bytes:
    """Render the figure of a panel; call it inside ``axes`` or ``stacked_axes``."""
    buffer = BytesIO()
    figure = panel.get_figure(root=True)
    if figure is None:
        raise ValueError("the panel belongs to no figure")
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def legend_beside_title(panel: Axes) -> None:
    """Put a legend of two names at the right of the title."""
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)


def data_uri(image: bytes) -> str:
    """Return a PNG as the ``src`` of an ``img`` element."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def plain_log_ticks(axis: Axis) -> None:
    """Write 0.05 rather than 5 × 10⁻² on a logarithmic axis; more ticks where it is short."""

    def minor(value: float, _position: int | None = None) -> str:
        low, high = sorted(axis.get_view_interval())
        shown = "23457" if high < 10 * low else "25" if high < 100 * low else ""
        return f"{value:g}" if f"{value:e}"[0] in shown else ""

    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(minor))
