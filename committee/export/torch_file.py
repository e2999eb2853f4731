"""Writing of PyTorch files: whole, or not at all."""

from pathlib import Path
from typing import Any

import torch

from committee.atomic_write import replacing
from committee.errors import CheckpointError


def write_torch(content: Any, path: Path) -> None:
    """Write content as ``torch.save`` does; an existing file is replaced once the new one is complete.

    Raises:
        CheckpointError: the file cannot be written; earlier content is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # PyTorch's archive writer replaces the file's own error, a full disk for example, by one about positions.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise CheckpointError(
            f"The checkpoint {path} cannot be written ({cause.strerror}); earlier content is unchanged. "
            "Choose another path, or free some space."
        ) from error
