"""Differences between the settings that a campaign was started with and its present ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_UNSET: Any = object()
_LONGEST = 40  # letters of a value that is quoted


@dataclass(frozen=True)
class Change:
    """One changed setting.

    Attributes:
        key: dotted path, for example ``systems[0].ensemble``.
        then: value when the campaign was started, or None if it was not set.
        now: present value.
        unknown_then: the setting was not stored.
        unknown_now: this release has no such setting.
    """

    key: str
    then: Any = None
    now: Any = None
    unknown_then: bool = False
    unknown_now: bool = False

    def __str__(self) -> str:
        if "arguments" in self.key.split("."):  # a calculator's arguments may hold a token
            return self.key
        if self.unknown_now:
            return f"{self.key} (was {_quoted(self.then)}, unknown to this release)"
        if self.unknown_then:
            return f"{self.key} (was not set, is {_quoted(self.now)})"
        if isinstance(self.then, (dict, list)) or isinstance(self.now, (dict, list)):
            return self.key
        return f"{self.key} (was {_quoted(self.then)}, is {_quoted(self.now)})"


def changes(then: Any, now: Any, chosen: Any, key: str = "") -> Iterator[Change]:
    """Yield the differences between two configurations given as plain JSON.

    A setting that the stored configuration lacks and that now has its default is no change.

    Args:
        then: the stored settings.
        now: all present settings.
        chosen: those of ``now`` that differ from their defaults.
        key: dotted path of ``then`` and ``now``.
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        picked = chosen if isinstance(chosen, Mapping) else {}
        for name in sorted(then.keys() | now.keys()):
            dotted = f"{key}.{name}" if key else str(name)
            if name not in now:
                yield Change(dotted, then=then[name], unknown_now=True)
            elif name not in then:
                yield from _new(now[name], picked.get(name, _UNSET), dotted)
            else:
                yield from changes(then[name], now[name], picked.get(name, _UNSET), dotted)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        if then == now:
            return
        picked_items = chosen if isinstance(chosen, list) and len(chosen) == len(now) else [_UNSET] * len(now)
        if not all(isinstance(item, Mapping) for item in (*then, *now)):
            yield Change(key, then, now)
            return
        for index, (before, after, picked_item) in enumerate(zip(then, now, picked_items, strict=True)):
            yield from changes(before, after, picked_item, f"{key}[{index}]")
    elif then != now:
        yield Change(key, then, now)


def _new(now: Any, chosen: Any, key: str) -> Iterator[Change]:
    """Yield a setting that was not stored, unless it has its default."""
    if chosen is _UNSET:
        return
    if isinstance(now, Mapping) and isinstance(chosen, Mapping) and chosen:
        for name in sorted(chosen):
            yield from _new(now[name], chosen[name], f"{key}.{name}")
        return
    yield Change(key, now=now, unknown_then=True)


def _quoted(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
