"""One small file for each finished calculation: written last, whole or not at all, with its own checksum."""

import re
from logging import getLogger
from pathlib import Path

from dft_interfaces.errors import DFTInterfaceError
from dft_interfaces.files.atomic_write import write_whole
from dft_interfaces.files.label_json import label_as_dict, label_from_dict
from dft_interfaces.files.sealed_json import sealed, unsealed
from dft_interfaces.label import Label, LabelStatus

logger = getLogger(__name__)

SCHEMA = 2
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
    """Write a result so that a crash leaves either the old file or the new one, never a part.

    Raises:
        OSError: a full disk, for example; what was there before is still there.
        ValueError: a label with numbers that are not finite.
    """
    path = result_path(folder, request_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, sealed({"schema": SCHEMA, "request_id": request_id, "label": label_as_dict(label)}))
    return path


def keep_result(folder: Path, request_id: str, label: Label) -> bool:
    """Write a result if that can be done; a full disk must not cost the label that is at hand.

    Returns:
        Whether it was written; why not stands in the log.
    """
    try:
        write_result(folder, request_id, label)
    except (OSError, ValueError):
        logger.exception(
            "the result of %s could not be written to %s, its label goes on without a file: free some space there, "
            "or it is calculated again if this process dies before the ledger has it",
            request_id,
            folder,
        )
        return False
    return True


def read_result(folder: Path, request_id: str) -> Label | None:
    """Read a result of any status; None if there is none.

    A file that cannot be read, is truncated, of another request, or does not match its checksum is no result: it is
    named in the log, and the request counts as one that has not ended.
    """
    path = result_path(folder, request_id)
    try:
        data = unsealed(path.read_bytes().decode())
        if data.get("schema") != SCHEMA or data.get("request_id") != request_id:
            raise ValueError(f"received schema {data.get('schema')} and request {data.get('request_id')!r}")
        return label_from_dict(data.get("label"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s is not used, its calculation counts as one that has not ended: %s", path, error)
        return None


def finished_label(folder: Path, request_id: str) -> Label | None:
    """Return the finished label of a request, None if it has to be calculated.

    A calculation that failed in all its tries (crashed, hung, ran out of memory) is not finished: a campaign asks once
    and then quarantines the frame, and whoever asks again later may find the machine in a better state. One that did
    not converge on any strategy or was rejected is: the same input would end the same way.

    Raises:
        DFTInterfaceError: an id that is no plain file name.
    """
    label = read_result(folder, request_id)
    return None if label is None or label.status is LabelStatus.FAILED else label
