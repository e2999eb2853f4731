"""One small file for each finished calculation, written atomically and with its own checksum."""

import re
from logging import getLogger
from pathlib import Path

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.label_json import label_as_dict, label_from_dict
from dft_interfaces.files.sealed_json import sealed, unsealed
from dft_interfaces.label import Label, LabelStatus

logger = getLogger(__name__)

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def result_path(folder: Path, request_id: str) -> Path:
    """Return the path of a request's result.

    Raises:
        DFTInterfaceError: an id that is not a plain file name.
    """
    if not _SAFE_ID.fullmatch(request_id):
        raise DFTInterfaceError(f"received the request id {request_id!r}, expected up to 128 letters, digits, - and _")
    return folder / "results" / f"{request_id}.json"


def write_result(folder: Path, request_id: str, label: Label) -> Path:
    """Write a result atomically.

    Raises:
        OSError: a full disk, for example; an old file is unchanged.
        ValueError: a label with numbers that are not finite.
    """
    path = result_path(folder, request_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, sealed({"request_id": request_id, "label": label_as_dict(label)}))
    return path


def keep_result(folder: Path, request_id: str, label: Label) -> bool:
    """Write a result if possible; a full disk must not lose the label.

    Returns:
        Whether it was written; the log holds the reason if it was not.
    """
    try:
        write_result(folder, request_id, label)
    except (OSError, ValueError):
        logger.exception(
            "the result of %s could not be written to %s, so its label has no file: free some space there, or it is "
            "calculated again if this process ends before the label is in the ledger",
            request_id,
            folder,
        )
        return False
    return True


def read_result(folder: Path, request_id: str) -> Label | None:
    """Read a result of any status; None if there is none.

    A file that cannot be read, is truncated, of another request, or does not match its checksum is not used: it is
    named in the log, and the request counts as unfinished.
    """
    path = result_path(folder, request_id)
    try:
        data = unsealed(path.read_bytes().decode())
        if data.get("request_id") != request_id:
            raise ValueError(f"received the result of request {data.get('request_id')!r}")
        return label_from_dict(data.get("label"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s is not used, its calculation counts as unfinished: %s", path, error)
        return None


def finished_label(folder: Path, request_id: str) -> Label | None:
    """Return the finished label of a request, None if it has to be calculated.

    A calculation that failed in all its tries (crashed, hung, ran out of memory) is not finished: a campaign requests
    it once and then quarantines the frame, and a later request may succeed on the same machine. A calculation that did
    not converge with any retry strategy or was rejected is finished: the same input would end the same way.

    Raises:
        DFTInterfaceError: an id that is not a plain file name.
    """
    label = read_result(folder, request_id)
    return None if label is None or label.status is LabelStatus.FAILED else label
