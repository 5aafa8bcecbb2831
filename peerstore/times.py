"""Instants and durations: read, print, and to integer microseconds and back.

Inside the store an instant is an integer: microseconds since 1970-01-01T00:00:00Z, which holds every instant from year
1 to year 9999 exactly. Outside it is an aware :class:`~datetime.datetime` in UTC. A naive time is an error everywhere.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from peerstore.errors import InvalidTime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EARLIEST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
FOREVER = LATEST - EARLIEST + 1  # a silence that no two instants can reach

MOMENT_FORMS = 'ISO 8601 with a zone (2026-07-08T18:00:05Z), "now", or relative to now ("2 hours ago", "-2h", "now-6h")'
DURATION_FORMS = 'seconds (45), an amount with a unit ("45s", "1h30m", "2 minutes"), ISO 8601 ("PT45S") or "forever"'

_ISO_FAST = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?Z")
_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})[T ]"
    r"(?P<minute>[0-9]{2}:?[0-9]{2})(?P<second>:?[0-9]{2})?(?:[.,](?P<fraction>[0-9]+))?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_UNITS = {
    **dict.fromkeys(("us",), 1),
    **dict.fromkeys(("ms",), 1_000),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000_000),
}
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([a-z]+)\s*")
_AGO = re.compile(r"(?P<ago>.+?)\s+ago|(?:now\s*)?-\s*(?P<minus>.+)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_PERIOD = re.compile(
    r"p(?:(?P<w>N)w)?(?:(?P<d>N)d)?(?:t(?:(?P<h>N)h)?(?:(?P<m>N)m)?(?:(?P<s>N)s)?)?".replace("N", r"[0-9.]+")
)


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch; :class:`~peerstore.errors.InvalidTime` if it is naive.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    if not isinstance(moment, datetime):
        raise InvalidTime(f"a time must be a datetime with a zone, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise InvalidTime(f"{moment.isoformat()} has no time zone: give an aware datetime, as in datetime.now(UTC)")
    return _in_range((moment - EPOCH) // MICROSECOND, moment.isoformat())


def instant(count: int) -> datetime:
    """Microseconds since the epoch as an aware datetime in UTC.

    >>> instant(1000005).isoformat()
    '1970-01-01T00:00:01.000005+00:00'
    """
    return EPOCH + timedelta(microseconds=count)


def iso(moment: datetime | int) -> str:
    """An instant in ISO 8601, always in UTC, always with six decimals: texts sort as the instants do.

    >>> iso(1000005)
    '1970-01-01T00:00:01.000005Z'
    """
    count = moment if isinstance(moment, int) else micros(moment)
    return instant(count).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_iso(text: str) -> int:
    """ISO 8601 with a zone as microseconds since the epoch.

    Decimals beyond the sixth are cut off (towards the past); a leap second ``:60`` is read as ``:59.999999``. A text
    without a zone, a date alone, a week date, ``24:00`` and what lies outside the years 1 to 9999 (in UTC) raise
    :class:`~peerstore.errors.InvalidTime`.

    >>> parse_iso("1970-01-01T00:00:01.0000059Z")
    1000005
    >>> parse_iso("1970-01-01T02:00:01+02:00")
    1000000
    """
    if not _ISO_FAST.fullmatch(text):
        text = _plain_iso(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidTime(f"{_shown(text)} is no instant: {error}") from None
    return _in_range((moment - EPOCH) // MICROSECOND, text)


def parse_moment(text: str, now: datetime) -> datetime:
    """What a person writes for an instant: ISO 8601 with a zone, ``now``, or relative to ``now``, in UTC.

    Anything else raises :class:`~peerstore.errors.InvalidTime`, which says what is accepted.

    >>> parse_moment("2 hours ago", now=datetime(2026, 7, 8, 18, tzinfo=UTC)).isoformat()
    '2026-07-08T16:00:00+00:00'
    >>> parse_moment("now - 15 min", now=datetime(2026, 7, 8, 18, tzinfo=UTC)).isoformat()
    '2026-07-08T17:45:00+00:00'
    """
    words = text.strip().lower()
    if words == "now":
        return instant(micros(now))
    if words[:4].isdigit() and not words.endswith("ago"):
        return instant(parse_iso(text.strip()))
    match = _AGO.fullmatch(words)
    amount = _amounts(match["ago"] or match["minus"]) if match else None
    if amount is None:
        raise InvalidTime(f"{_shown(text)} is no time: expected {MOMENT_FORMS}")
    return instant(_in_range(micros(now) - amount, text))


def parse_duration(text: str) -> timedelta:
    """What a person writes for a duration; ``forever`` is ``timedelta.max``.

    A plain number counts seconds. A negative duration and anything else raise :class:`~peerstore.errors.InvalidTime`.

    >>> parse_duration("1h30m"), parse_duration("45"), parse_duration("P1DT2H")
    (datetime.timedelta(seconds=5400), datetime.timedelta(seconds=45), datetime.timedelta(days=1, seconds=7200))
    """
    words = text.strip().lower()
    if words == "forever":
        return timedelta.max
    amount = _whole_micros(words, 1_000_000) if _NUMBER.fullmatch(words) else _amounts(words)
    if amount is None:
        amount = _period(words)
    if amount is None:
        raise InvalidTime(f"{_shown(text)} is no duration: expected {DURATION_FORMS}")
    return timedelta.max if amount >= FOREVER else timedelta(microseconds=amount)


def duration_micros(value: timedelta | float | None) -> int | None:
    """A duration, as a timedelta or in seconds, in microseconds; ``None`` stays ``None``.

    ``timedelta.max``, like all that no two instants can reach, is :data:`FOREVER`. A negative duration or NaN raises
    :class:`~peerstore.errors.InvalidTime`.

    >>> duration_micros(4.2), duration_micros(timedelta(minutes=1)), duration_micros(None)
    (4200000, 60000000, None)
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        count = value // MICROSECOND
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise InvalidTime(f"a duration must be a timedelta or a number of seconds, not {value!r}")
    else:
        count = round(Fraction(value) * 1_000_000) if abs(value) <= FOREVER else FOREVER * (1 if value > 0 else -1)
    if count < 0:
        raise InvalidTime(f"a duration must not be negative, as {value} is")
    return min(count, FOREVER)


def format_duration(duration: timedelta) -> str:
    """A duration for people: its two largest units, what is below them cut off.

    >>> format_duration(timedelta(hours=1, minutes=2, seconds=59)), format_duration(timedelta(seconds=4.25))
    ('1 h 02 min', '4.2 s')
    """
    if duration == timedelta.max:
        return "forever"
    if duration < timedelta(0):
        return f"-{format_duration(-duration)}"
    seconds, fraction = divmod(duration // MICROSECOND, 1_000_000)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24:02} h"
    if hours:
        return f"{hours} h {minutes % 60:02} min"
    if minutes:
        return f"{minutes} min {seconds % 60:02} s"
    if seconds or not fraction:
        tenths = fraction // 100_000
        return f"{seconds}.{tenths} s" if tenths else f"{seconds} s"
    return f"{fraction // 1000} ms" if fraction >= 1000 else f"{fraction} us"


def _in_range(count: int, given: str) -> int:
    if EARLIEST <= count <= LATEST:
        return count
    raise InvalidTime(f"{_shown(given)} lies outside the years 1 to 9999 in UTC")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


def _plain_iso(text: str) -> str:
    """The text spelt in a way that every supported Python reads alike, or why it is none."""
    match = _ISO.fullmatch(text.upper())
    if match is None:
        raise InvalidTime(f"{_shown(text)} is no instant: expected ISO 8601 as in 2026-07-08T18:00:05.123456Z")
    if match["zone"] is None:
        raise InvalidTime(f"{_shown(text)} has no time zone: append Z for UTC or an offset such as +02:00")
    minute, second = match["minute"].replace(":", ""), (match["second"] or "00").removeprefix(":")
    if match["fraction"] and not match["second"]:
        raise InvalidTime(f"{_shown(text)} has decimals of a minute: write out the seconds")
    if minute.startswith("24"):
        raise InvalidTime(f"{_shown(text)} has an hour 24: write 00:00 of the day after")
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    if second == "60":
        second, fraction = "59", "999999"
    date = match["date"].replace("-", "")
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{minute[:2]}:{minute[2:]}:{second}.{fraction}{match['zone']}"


def _amounts(words: str) -> int | None:
    """The sum of amounts such as "1h 30 min" in microseconds, or None where the words are no such thing."""
    total, position = 0, 0
    while match := _AMOUNT.match(words, position):
        unit = _UNITS.get(match[2])
        if unit is None:
            return None
        total, position = total + _whole_micros(match[1], unit), match.end()
    return total if words and position == len(words) else None


def _period(words: str) -> int | None:
    """An ISO 8601 period of weeks to seconds in microseconds, else None; years and months have no fixed length."""
    match = _PERIOD.fullmatch(words)
    given = {unit: number for unit, number in match.groupdict().items() if number} if match else {}
    if not given or not all(_NUMBER.fullmatch(number) for number in given.values()):
        return None
    return sum(_whole_micros(number, _UNITS[unit]) for unit, number in given.items())


def _whole_micros(number: str, unit: int) -> int:
    return int(Fraction(Decimal(number)) * unit)
