"""One small file for each finished calculation: written last, whole or not at all."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.label import Label, LabelStatus
from dft_interfaces.label_json import label_as_dict, label_from_dict

SCHEMA = 1
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def result_path(folder: Path, request_id: str) -> Path:
    """Where the result of a request lies.

    Raises:
        DFTInterfaceError: an id that is no plain file name.
    """
    if not _SAFE_ID.fullmatch(request_id):
        raise DFTInterfaceError(f"received the request id {request_id!r}, expected up to 128 letters, digits, - and _")
    return folder / "results" / f"{request_id}.json"


def write_result(folder: Path, request_id: str, label: Label) -> Path:
    """Write a result so that a crash leaves either the old file or the new one, never a part."""
    path = result_path(folder, request_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, "request_id": request_id, "label": label_as_dict(label)}, allow_nan=False)
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)
    return path


def read_result(folder: Path, request_id: str) -> Label | None:
    """Read a result of any status; None if there is none, or only a truncated or foreign file."""
    try:
        data = json.loads(result_path(folder, request_id).read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("schema") != SCHEMA or data.get("request_id") != request_id:
            return None
        return label_from_dict(data.get("label"))
    except (FileNotFoundError, ValueError):
        return None


def finished_label(folder: Path, request_id: str) -> Label | None:
    """Return the finished label of a request, None if it has to be calculated.

    A calculation that failed (crashed, ran out of memory) is not finished: asking again may help. One that did not
    converge or was rejected is: the same input would end the same way.

    Raises:
        DFTInterfaceError: an id that is no plain file name.
    """
    label = read_result(folder, request_id)
    return None if label is None or label.status is LabelStatus.FAILED else label


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
