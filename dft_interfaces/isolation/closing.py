"""Objects that are closed at the end of a ``with`` block."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Closes itself when its ``with`` block ends, in whatever way."""

    @abstractmethod
    def close(self) -> None:
        """End what it has started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
