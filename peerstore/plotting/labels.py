"""What peers, values and times are called in a picture: harmless, short, and in an order that people expect."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from peerstore.times import format_duration, iso

if TYPE_CHECKING:
    from peerstore.store import PeerStore

SHORTEST_KEY = 14  # all keys of Ditto peers share their first ten characters
LONGEST_LABEL = 32
LONGEST_TITLE = 110
NAMED = 3


def plain(text: str, longest: int = LONGEST_LABEL) -> str:
    r"""A text from a stranger in one line: control and other invisible characters, and those that XML does not allow,
    are shown by their codes; what is longer than ``longest`` is cut in its middle.

    >>> plain("till\n9\x00"), plain("a" * 40, 9)
    ('till\\x0a9\\x00', 'aaa…aaaaa')
    """
    if len(text) > 2 * longest:  # no need to look at all of it
        text = f"{text[:longest]}{text[-longest:]}"
    shown = [character if _visible(character) else _code(character) for character in text]
    if sum(map(len, shown)) <= longest:
        return "".join(shown)
    head = _fitting(shown, longest // 3)
    tail = _fitting(shown[::-1], longest - 1 - longest // 3)
    return f"{''.join(head)}…{''.join(reversed(tail))}"


def _fitting(parts: list[str], room: int) -> list[str]:
    """As many of the parts, from the first on, as there is room for."""
    return [part for part, end in zip(parts, accumulate(map(len, parts)), strict=True) if end <= room]


def _visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which numbers within texts count as numbers.

    >>> sorted(["till-10", "till-9", "office"], key=natural)
    ['office', 'till-9', 'till-10']
    """
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", text.casefold())
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts)


def clock(moment: datetime) -> str:
    """An instant without decimals that are zero.

    >>> from datetime import UTC
    >>> clock(datetime(2026, 7, 8, 14, 3, 30, 500000, tzinfo=UTC)), clock(datetime(2026, 7, 8, 14, tzinfo=UTC))
    ('2026-07-08 14:03:30.500', '2026-07-08 14:00:00')
    """
    text = iso(moment).replace("T", " ").removesuffix("Z")
    return text.removesuffix(".000000").removesuffix("000") if text.endswith("000") else text


def span(start: datetime, end: datetime) -> str:
    """A stretch of time.

    >>> from datetime import UTC
    >>> span(datetime(2026, 7, 8, 14, tzinfo=UTC), datetime(2026, 7, 8, 15, tzinfo=UTC))
    '2026-07-08 14:00:00 to 15:00:00 UTC'
    """
    first, last = clock(start), clock(end)
    return f"{first} to {last[11:] if first[:11] == last[:11] else last} UTC"


def whole(duration: timedelta) -> str:
    """A duration without a smaller unit that is nothing.

    >>> whole(timedelta(minutes=15)), whole(timedelta(minutes=90))
    ('15 min', '1 h 30 min')
    """
    return re.sub(r" 00 [a-z]+$", "", format_duration(duration))


def percent(share: float) -> str:
    """A share from 0 to 1: cut, not rounded, so that 100 % is all of it and 0.0 % is nothing.

    >>> percent(1), percent(0.99999), percent(0.00001), percent(0.0)
    ('100 %', '99.9 %', '< 0.1 %', '0.0 %')
    """
    tenths = math.floor(share * 1000)
    return "100 %" if tenths == 1000 else "< 0.1 %" if share and not tenths else f"{tenths / 10:.1f} %"


def listed(words: list[str], most: int = NAMED) -> str:
    """Some of the words, and how many more there are.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c", "d", "e"])
    ('a, b, c', 'a, b, c and 2 more')
    """
    more = len(words) - most
    return ", ".join(words) if more <= 0 else f"{', '.join(words[:most])} and {more} more"


def plural(count: int, word: str) -> str:
    """A number of things.

    >>> plural(1, "peer"), plural(2, "peer")
    ('1 peer', '2 peers')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


class Labels:
    """What peers are called: by their newest device name; with the beginning of the key where several have that name;
    else by the key alone. Beginnings of keys are long enough for no other known key to begin alike."""

    def __init__(self, store: PeerStore) -> None:
        self._names = store.device_names()
        self._bearers = Counter(self._names.values())
        keys = sorted({*store.peer_keys(), *store.observer_keys()})
        shared = [0, *(_shared(one, other) for one, other in pairwise(keys)), 0]
        self._keys = {key: key[: max(SHORTEST_KEY, *shared[place : place + 2]) + 1] for place, key in enumerate(keys)}

    def of(self, key: str) -> str:
        """The label of a peer or observer."""
        short = plain(self._keys.get(key, key))
        name = self._names.get(key)
        if name is None:
            return short
        return plain(name) if self._bearers[name] == 1 else f"{plain(name)} ({short})"

    def order(self, key: str) -> tuple[object, ...]:
        """A sort key: by name as people count, then by key; those without a name last."""
        name = self._names.get(key)
        return (name is None, natural(name or ""), key)


def _shared(key: str, other: str) -> int:
    pairs = enumerate(zip(key, other, strict=False))
    return next((place for place, (one, two) in pairs if one != two), min(len(key), len(other)))
