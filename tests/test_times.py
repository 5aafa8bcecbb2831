"""Instants and durations: every spelling that is accepted, every one that is refused, and exact ends of the range."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerstore.errors import InvalidTime
from peerstore.times import (
    EARLIEST,
    EPOCH,
    FOREVER,
    LATEST,
    MICROSECOND,
    duration_micros,
    format_duration,
    instant,
    iso,
    micros,
    parse_duration,
    parse_iso,
    parse_moment,
)

NOW = datetime(2026, 7, 8, 18, tzinfo=UTC)
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1970-01-01T00:00:00.1234567891234Z", 123_456),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1969-12-31T23:59:59.9999990001Z", -1),
        ("1970-01-01t00:00:01z", SECOND),
        ("1970-01-01 00:00:01Z", SECOND),
        ("1970-01-01T00:01Z", 60 * SECOND),
        ("19700101T000001Z", SECOND),
        ("1970-01-01T00:00:01,5Z", 1_500_000),
        ("1970-01-01T02:00:01+02:00", SECOND),
        ("1970-01-01T02:00:01+0200", SECOND),
        ("1970-01-01T02:00:01+02", SECOND),
        ("1970-01-01T23:59:01+23:59", SECOND),
        ("1970-01-01T00:00:60Z", 59_999_999),
        ("1970-01-01T00:00:60.7Z", 59_999_999),
        ("2016-12-31T23:59:60Z", parse_iso("2016-12-31T23:59:59.999999Z")),
        ("0001-01-01T00:00:00Z", EARLIEST),
        ("9999-12-31T23:59:59.999999999Z", LATEST),
        ("9999-12-31T23:59:60Z", LATEST),
    ],
)
def test_iso_is_read(text: str, expected: int) -> None:
    assert parse_iso(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-07-08T18:00:05", "no time zone"),
        ("2026-07-08", "no instant"),
        ("2026-W28-3T18:00:00Z", "no instant"),
        ("2026-189T18:00:00Z", "no instant"),
        ("2026-07-08T24:00:00Z", "hour 24"),
        ("2026-07-08T18.5Z", "no instant"),
        ("2026-07-08T18:00.5Z", "decimals of a minute"),
        ("2026-07-08T18:00:61Z", "no instant"),
        ("2026-07-08T18:60:00Z", "no instant"),
        ("2026-02-30T18:00:00Z", "no instant"),
        ("2026-07-08T18:00:00+24:00", "no instant"),
        ("2026-07-08T18:00:00+25:00", "no instant"),
        ("2026-07-08T18:00:00+23:60", "no instant"),
        ("0000-01-01T00:00:00Z", "no instant"),
        ("10000-01-01T00:00:00Z", "no instant"),
        ("-0001-01-01T00:00:00Z", "no instant"),
        ("0001-01-01T00:00:00+01:00", "years 1 to 9999"),
        ("9999-12-31T23:59:59-01:00", "years 1 to 9999"),
        ("٢٠٢٦-07-08T18:00:00Z", "no instant"),
        ("1751997605", "no instant"),
        ("", "no instant"),
        ("2026-07-08T18:00:05Z\n", "no instant"),
        ("x" * 100_000, "no instant"),
    ],
)
def test_iso_is_refused_with_a_sentence(text: str, reason: str) -> None:
    with pytest.raises(InvalidTime, match=reason) as caught:
        parse_iso(text)
    assert len(str(caught.value)) < 250


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_survives_print_and_parse(moment: datetime) -> None:
    assert instant(parse_iso(iso(moment))) == moment
    assert micros(moment) == parse_iso(moment.isoformat())


@given(st.text())
def test_any_text_is_an_instant_or_invalid(text: str) -> None:
    for read in (parse_iso, parse_duration, lambda words: parse_moment(words, NOW)):
        with suppress(InvalidTime):
            read(text)


def test_micros_refuses_naive_and_unreachable_times() -> None:
    with pytest.raises(InvalidTime, match="no time zone"):
        micros(NOW.replace(tzinfo=None))
    with pytest.raises(InvalidTime, match="years 1 to 9999"):
        micros(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    with pytest.raises(InvalidTime, match="years 1 to 9999"):
        iso(datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))))


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("now", timedelta(0)),
        (" NOW ", timedelta(0)),
        ("2 hours ago", timedelta(hours=2)),
        ("90s ago", timedelta(seconds=90)),
        ("-2h", timedelta(hours=2)),
        ("now-6h", timedelta(hours=6)),
        ("now - 15 min", timedelta(minutes=15)),
        ("1 day ago", timedelta(days=1)),
        ("1h30m ago", timedelta(minutes=90)),
        ("1.5 weeks ago", timedelta(days=10.5)),
        ("5us ago", timedelta(microseconds=5)),
        ("250 ms ago", timedelta(milliseconds=250)),
        ("2026-07-08T19:00:00+02:00", timedelta(hours=1)),
    ],
)
def test_moments_of_people(text: str, ago: timedelta) -> None:
    assert parse_moment(text, NOW) == NOW - ago
    assert parse_moment(text, NOW).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2 fortnights ago",
        "ago",
        "h ago",
        "now-",
        "-",
        "--2h",
        "in 2 hours",
        "2 hours",
        "18:00",
        "2h-1h",
    ],
)
def test_other_moments_say_what_is_accepted(text: str) -> None:
    with pytest.raises(InvalidTime, match="ISO 8601"):
        parse_moment(text, NOW)


def test_a_moment_before_year_1_is_refused() -> None:
    with pytest.raises(InvalidTime, match="years 1 to 9999"):
        parse_moment("9999999 weeks ago", NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("45", timedelta(seconds=45)),
        ("0", timedelta(0)),
        ("0.25", timedelta(milliseconds=250)),
        ("1.5h", timedelta(minutes=90)),
        ("2 minutes", timedelta(minutes=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1 h 30 min", timedelta(minutes=90)),
        ("PT45S", timedelta(seconds=45)),
        ("pt1.5m", timedelta(seconds=90)),
        ("P1DT2H", timedelta(days=1, hours=2)),
        ("P2W", timedelta(weeks=2)),
        ("forever", timedelta.max),
        ("Forever", timedelta.max),
        ("99999999999999999w", timedelta.max),
    ],
)
def test_durations_of_people(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "-5s", "soon", "1y", "P1Y", "P1M", "P", "PT", "1e3", "nan", "inf", "1h-5m", "P.D"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(InvalidTime, match="no duration: expected"):
        parse_duration(text)


def test_durations_in_microseconds_are_exact() -> None:
    assert duration_micros(None) is None
    assert duration_micros(0) == 0
    assert duration_micros(0.1) == 100_000
    assert duration_micros(10**9) == 10**15
    assert duration_micros(timedelta(days=1, microseconds=1)) == 86_400_000_001
    assert duration_micros(timedelta.max) == duration_micros(math.inf) == duration_micros(10**30) == FOREVER
    assert LATEST - EARLIEST < FOREVER


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, -math.inf, -(10**30), timedelta(microseconds=-1), True, "45"])
def test_durations_that_are_none(value: object) -> None:
    with pytest.raises(InvalidTime, match="a duration must"):
        duration_micros(value)  # type: ignore[arg-type]


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30_000)))
def test_a_duration_survives_microseconds(duration: timedelta) -> None:
    count = duration_micros(duration)
    assert count is not None
    assert count * MICROSECOND == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(microseconds=7), "7 us"),
        (timedelta(milliseconds=250), "250 ms"),
        (timedelta(seconds=4.2), "4.2 s"),
        (timedelta(seconds=59.99), "59.9 s"),
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=5, seconds=3), "5 min 03 s"),
        (timedelta(hours=1, minutes=2), "1 h 02 min"),
        (timedelta(days=3, hours=4), "3 d 04 h"),
        (-timedelta(hours=1), "-1 h 00 min"),
        (timedelta.max, "forever"),
    ],
)
def test_durations_for_people(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


def test_the_epoch() -> None:
    assert micros(EPOCH) == 0
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
