"""Starter configs."""

import os
from importlib.resources import files
from pathlib import Path

from al_loop.config.keys import nearest
from al_loop.errors import InputError
from al_loop.utils.paths import writing

KINDS = ("molecule", "crystal", "full")


def template_text(kind: str) -> str:
    """Return a commented config whose placeholders read FILL-IN.

    Raises:
        InputError: no such template.
    """
    if kind not in KINDS:
        raise InputError(f"unknown template {kind!r}{nearest(kind, KINDS)}; valid: {', '.join(KINDS)}")
    return (files("al_loop.config") / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")


def write_template(kind: str, path: Path) -> Path:
    """Write a template to a file that does not exist yet.

    Raises:
        InputError: no such template, the file exists, or it cannot be written.
    """
    text = template_text(kind)
    with writing("--output", path):
        if os.path.lexists(path):
            raise InputError(f"{path} exists already and was not changed; choose another name")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return path
