"""Find labelled files from given files, folders and patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from al_loop.errors import InputError
from al_loop.files.outputs.vasp_run import is_outcar, run_tag
from al_loop.files.readers.formats import KNOWN, recognised, required_format
from al_loop.files.text.open_text import plain_name
from al_loop.utils.foreign_input import reading
from al_loop.utils.paths import printable

_LISTED = 5


@dataclass(frozen=True)
class Source:
    """One file of labelled frames.

    Attributes:
        path: of the file.
        kind: its format, see ``formats``.
        named: the user named this file; otherwise it was found in a folder or by a pattern.
    """

    path: Path
    kind: str
    named: bool = True


@dataclass(frozen=True)
class Sources:
    """The labelled files, and notes on files that were skipped."""

    files: list[Source]
    notes: list[str]


def find_sources(given: Path | Sequence[Path]) -> Sources:
    """Find the files of labelled frames, each once, those of a folder or pattern in the order of their paths.

    A folder is searched with all folders in it, apart from hidden ones. Of one run of VASP that left vasprun.xml and
    OUTCAR the former is taken, which has more digits.

    Args:
        given: files, folders, and patterns with ``*``, ``?``, ``[...]`` and ``**`` for folders of any depth.

    Raises:
        InputError: a path that is not there, a pattern that nothing matches, a folder without such files, or a file
            of another format.
    """
    paths = [given] if isinstance(given, Path) else list(given)
    if not paths:
        raise InputError(
            "no file of labelled frames was given; name files, folders or patterns such as 'runs/**/OUTCAR'"
        )
    found: dict[Path, Source] = {}
    for path in paths:
        with reading(path, "name a file, a folder or a pattern that you may read"):
            for source in _expanded(path.expanduser()):
                found.setdefault(source.path.resolve(), source)
    return _one_per_run(list(found.values()))


def _expanded(path: Path) -> Iterator[Source]:
    if path.is_file():
        yield Source(path, required_format(path))
    elif path.is_dir():
        yield from _in_folder(path)
    elif glob.has_magic(str(path)):
        yield from _matching(path)
    else:
        raise InputError(
            f"{path} is not a file; name one with labelled frames, such as frames.extxyz, a folder, or a pattern"
        )


def _matching(pattern: Path) -> Iterator[Source]:
    matches = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207 - absolute patterns
    if not matches:
        raise InputError(f"nothing matches the pattern {pattern}; check it with ls, or name files or a folder")
    files = [path for path in matches if path.is_file()]
    found = [Source(path, kind, named=False) for path in files if (kind := _kind(path))]
    if not found and files:
        required_format(files[0])  # says why
    for folder in matches:
        if folder.is_dir() and "**" not in pattern.parts:
            found += _in_folder(folder)
    if not found:
        raise InputError(
            f"the pattern {pattern} matches {len(matches)} paths and no file of labelled frames; known are {KNOWN}"
        )
    yield from found


def _in_folder(folder: Path) -> Iterator[Source]:
    found, seen = False, {os.path.realpath(folder)}
    for root, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        inner = {name: os.path.realpath(os.path.join(root, name)) for name in sorted(folders) if name[0] != "."}  # noqa: PTH118
        folders[:] = [name for name, real in inner.items() if real not in seen]  # a link may lead back up
        seen.update(inner.values())
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file() and path.stat().st_size and (kind := _kind(path)):
                found = True
                yield Source(path, kind, named=False)
    if not found:
        raise InputError(f"the folder {folder} holds no file of labelled frames; it was searched for {KNOWN}")


def _unreadable(error: OSError) -> None:
    """A folder that cannot be looked into may hold labels."""
    with reading(error.filename, "let it be read or move it elsewhere, or name the files that are meant"):
        raise error


def _kind(path: Path) -> str | None:
    """Return the format of a file found in a folder or pattern; an unreadable one may hold labels, so it raises."""
    with reading(path, "repair it or move it elsewhere, or name the files to read"):
        return recognised(path)


def _one_per_run(sources: list[Source]) -> Sources:
    """Leave out the OUTCAR of a run whose vasprun.xml is given too."""
    complete = {
        (source.path.parent.resolve(), run_tag(source.path))
        for source in sources
        if source.kind == "vasprun" and source.path.stat().st_size
    }
    kept: list[Source] = []
    passed: list[Source] = []
    for source in sources:
        run = (source.path.parent.resolve(), run_tag(source.path))
        (passed if is_outcar(source.path) and run in complete else kept).append(source)
    if not passed:
        return Sources(kept, [])
    shown = ", ".join(str(source.path) for source in passed[:_LISTED]) + ", ..." * (len(passed) > _LISTED)
    return Sources(kept, [f"Of {len(passed)} VASP runs vasprun.xml is read and OUTCAR is not: {shown}."])


def trajectory_name(source: Source) -> str:
    """Return a name that identifies the frames of a file: the file name, with the folder for outputs of codes."""
    stem = Path(plain_name(source.path)).stem
    generic = source.kind in {"vasprun", "vasp-outcar", "espresso", "cp2k", "orca", "aims", "gpaw"}
    return f"{printable(source.path.resolve().parent.name)}/{stem}" if generic else printable(source.path.stem)
