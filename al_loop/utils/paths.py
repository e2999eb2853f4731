"""Checks of the user's paths for reading or writing, before anything is opened or calculated."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading, reason_of

Paths = str | Path | Sequence[str | Path]
"""One file, folder or pattern, or several."""


def as_paths(given: Paths) -> list[Path]:
    """Return one path or several as a list."""
    return [Path(given)] if isinstance(given, str | Path) else [Path(path) for path in given]


def check_source(named: str, path: Path, remedy: str) -> None:
    """Check that a path is a readable regular file: a pipe may block, and a device has no end.

    Raises:
        InputError: ``named`` does not exist, is a folder, a pipe or a device, or may not be read; with the remedy.
    """
    with reading(named, remedy):
        if not path.exists():
            raise InputError(f"{named} does not exist; {remedy}")
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{named} is a folder; {remedy}")
        if not stat.S_ISREG(mode):
            raise InputError(f"{named} is a device or a pipe; {remedy}")
        with path.open("rb"):
            pass


def check_target(option: str, path: Path, inputs: Iterable[Path] = ()) -> None:
    """Check that a result file, given by an option, can be written and overwrites no input.

    Raises:
        InputError: it is an input, a folder, a pipe or a device, it or its folder is not writable, or its folder does
            not exist.
    """
    with writing(option, path):
        if os.path.realpath(path) in map(os.path.realpath, inputs):
            raise InputError(f"{option}: {path} is an input; choose another name")
        if not path.parent.is_dir():
            raise InputError(f"{option}: the folder {path.parent} does not exist; make it, or choose another")
        if path.is_dir():
            raise InputError(f"{option}: {path} is a folder; name a file")
        if path.is_symlink() and not path.exists():
            raise InputError(f"{option}: {path} is a link to nothing; name a file")
        if path.exists() and not path.is_file():
            raise InputError(f"{option}: {path} is a device or a pipe; name a file")
        if path.is_file() and not _may(path, os.W_OK):
            raise InputError(f"{option}: {path} may not be written; change its permissions, or choose another name")
        if not _may(path.parent, os.W_OK | os.X_OK):
            raise InputError(f"{option}: the folder {path.parent} may not be written; choose another")


def check_target_folder(option: str, path: Path) -> None:
    """Check that a folder, given by an option, can be created or written to.

    Raises:
        InputError: the path is a file, or the folder, or its nearest existing parent, is not writable.
    """
    with writing(option, path):
        nearest = next(one for one in (path, *path.absolute().parents) if one.exists())
        if not nearest.is_dir():
            raise InputError(f"{option}: {nearest} is a file; name a folder")
        if not _may(nearest, os.W_OK | os.X_OK):
            raise InputError(f"{option}: the folder {nearest} may not be written; choose another")


def printable(name: str) -> str:
    """Return a name with backslash escapes for bytes that are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Turn an invalid path, a full disk or a missing permission into one ``InputError``.

    Raises:
        InputError: "OPTION: PATH cannot be written (why); choose another place".
    """
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise InputError(f"{option}: {path} cannot be written ({reason_of(error)}); choose another place") from error


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
