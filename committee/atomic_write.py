"""Writing a file so that a reader never sees half of it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """Yield the path of a new file beside ``path``, which takes the place of ``path`` once the block has ended."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` for writing; it takes the place of ``path`` once it is complete."""
    with replacing_path(path) as part, part.open("xb") as file:
        yield file
