"""One look for all pictures: colour-blind safe, told apart in black and white, drawn without a display."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): distinguishable with any colour vision; the darkest three lead.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#007A5E"
BLACK, GREY, LIGHT = "#1A1A1A", "#767676", "#C9C9C9"

LEGITIMATE: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
FRAUD: dict[str, Any] = {"color": ORANGE, "linestyle": "--"}
LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "linestyle": "-", "linewidth": 2.4},
    {"color": ORANGE, "linestyle": "--", "linewidth": 1.9},
    {"color": GREEN, "linestyle": "-.", "linewidth": 1.9},
    {"color": BLACK, "linestyle": ":", "linewidth": 1.9},
    {"color": "#AA4499", "linestyle": (0, (6, 1.5, 1, 1.5, 1, 1.5)), "linewidth": 1.7},
    {"color": "#56B4E9", "linestyle": "-", "linewidth": 1.4},
    {"color": "#8C6D00", "linestyle": (0, (5, 3)), "linewidth": 1.4},
    {"color": GREY, "linestyle": (0, (1, 2.5)), "linewidth": 1.9},
)

MARKERS = "osD^vPXh*"
"""One more than there are lines: a ninth line differs from the first."""

_STYLE: Any = {  # matplotlib types each key; a dict of str does not fit
    "font.family": "DejaVu Sans",  # comes with matplotlib: pictures do not depend on the machine
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 2.8,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "figure.facecolor": "white",
    "svg.hashsalt": "fedanomaly",
}


@contextmanager
def picture(
    path: Path, size: tuple[float, float], columns: int = 1, rows: int = 1, **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure with ``rows * columns`` axes and write it to ``path`` at the end.

    The figure belongs to nobody but the caller: no global state of pyplot is touched, so a
    notebook's backend stays as it is and nothing is left open.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07))
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        yield figure, list(axes.flat)
        figure.savefig(path, dpi=144, metadata={"Software": None})  # no version stamp: same data, same file


def say(axes: Axes, text: str) -> None:
    """Write why there is nothing to draw, instead of drawing it."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY, wrap=True)


def panel_grid(panels: int) -> tuple[int, int]:
    """Return columns and rows for so many panels."""
    columns = 2 if panels in (2, 4) else min(3, max(1, panels))
    return columns, -(-max(1, panels) // columns)


def legend_below(figure: Figure, axes: list[Axes], lines: list[str], handle: float) -> None:
    """Name the lines of all panels once, below them; ``handle``: inches a name takes besides its letters."""
    handles = {h.get_label(): h for one in axes for h in one.get_legend_handles_labels()[0]}
    shown = [handles[line] for line in lines if line in handles]
    if len(shown) > 1:
        room = int(figure.get_figwidth() / (handle + 0.078 * max(map(len, lines))))
        figure.legend(handles=shown, loc="outside lower center", ncols=max(1, min(room, len(shown))))


def client_ticks(axes: Axes, names: list[str]) -> None:
    """Label the x axis with clients, as many as fit without overlap."""
    short = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    wide = max((len(name) for name in short), default=0) > 3
    step = -(-len(names) // (8 if wide else 16))
    shown = range(0, len(names), max(1, step))
    slanted: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if wide else {}
    axes.set_xticks(list(shown), [short[i] for i in shown], **slanted)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("client")
