"""Find the files of one VASP run in a folder."""

import re
from pathlib import Path

from al_loop.files.text.open_text import plain_name


def run_tag(path: Path) -> str | None:
    """Return the part of a file name that identifies its run (``OUTCAR.1``, ``vasprun.xml.1``), else None."""
    name = plain_name(path)
    if "OUTCAR" in name:
        return name.replace("OUTCAR", "", 1)
    if re.search(r"vasprun.*\.xml|vasp.*\.xml", name):
        return re.sub(r"vasprun|vasp|\.xml", "", name)
    return None


def is_outcar(path: Path) -> bool:
    """Whether it is an OUTCAR by its name."""
    return "OUTCAR" in path.name


def other_output(path: Path) -> Path | None:
    """Return vasprun.xml of an OUTCAR's run, or OUTCAR of a vasprun.xml's; None if it is not there or is empty."""
    tag = run_tag(path)
    if tag is None:
        return None
    try:
        others = (file for file in sorted(path.parent.iterdir()) if run_tag(file) == tag and file.is_file())
        return next((file for file in others if is_outcar(file) != is_outcar(path) and file.stat().st_size > 0), None)
    except OSError:  # what may not be looked at cannot be offered
        return None
