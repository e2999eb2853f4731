"""Configs to start from."""

from importlib.resources import files
from pathlib import Path

from al_loop.config.keys import nearest
from al_loop.errors import InputError

KINDS = ("molecule", "crystal", "full")


def template_text(kind: str) -> str:
    """Return a commented config whose placeholders read FILL-IN.

    Raises:
        InputError: no such template.
    """
    if kind not in KINDS:
        raise InputError(f"no template {kind!r}{nearest(kind, KINDS)}; there are: {', '.join(KINDS)}")
    return (files("al_loop.config") / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")


def write_template(kind: str, path: Path) -> Path:
    """Write a template to a file that does not exist yet.

    Raises:
        InputError: no such template, the file exists, or it cannot be written.
    """
    text = template_text(kind)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists already and is left alone; choose another name") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose a folder where you may write") from error
    return path
