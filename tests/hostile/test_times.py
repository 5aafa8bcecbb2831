"""Times at every edge: what is accepted and as which microsecond, what is refused and in which words, in any zone."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import peerstore
from peerstore.times import EARLIEST, LATEST, iso, parse_iso
from tests.hostile.counting import report

SECOND = 1_000_000
ACCEPTED: tuple[tuple[dict[str, Any], int], ...] = (
    ({"observedAt": "2016-12-31T23:59:60Z"}, 1_483_228_799_999_999),
    ({"observedAt": "2016-12-31T23:59:60.5Z"}, 1_483_228_799_999_999),
    ({"observedAt": "9999-12-31T23:59:60Z"}, LATEST),
    ({"observedAt": "0001-01-01T00:00:00Z"}, EARLIEST),
    ({"observedAt": "9999-12-31T23:59:59.999999Z"}, LATEST),
    ({"observedAt": "9999-12-31T23:59:59.999999999Z"}, LATEST),
    ({"observedAt": "1969-12-31T23:59:59.999999Z"}, -1),
    ({"observedAt": "1969-12-31T23:59:59.9999999Z"}, -1),
    ({"observedAt": "1677-09-21T00:12:43.145224Z"}, -9_223_372_036_854_776),
    ({"observedAt": "2262-04-11T23:47:16.854776Z"}, 9_223_372_036_854_776),
    ({"observedAt": "2026-07-08T18:00:05.123456789Z"}, 1_783_533_605_123_456),
    ({"observedAt": "2026-07-08T18:00:05.9999999Z"}, 1_783_533_605_999_999),
    ({"observedAt": "2026-07-08T18:00:05+23:59"}, 1_783_533_605 * SECOND - 86_340 * SECOND),
    ({"observedAt": "2026-07-08T18:00:05-23:59"}, 1_783_533_605 * SECOND + 86_340 * SECOND),
    ({"observedAt": "2026-07-08 18:00:05z"}, 1_783_533_605 * SECOND),
    ({"observedAt": "20260708T180005,5Z"}, 1_783_533_605_500_000),
    ({"observedAt": "2026-10-25T02:30:00+02:00"}, 1_792_888_200 * SECOND),
    ({"observedAt": "2026-10-25T02:30:00+01:00"}, 1_792_891_800 * SECOND),
    ({"observedAt": "2026-03-29T02:30:00+01:00"}, 1_774_747_800 * SECOND),
    ({"observedAtMs": 1_783_533_605_123}, 1_783_533_605_123_000),
    ({"observedAtMs": 1.7e12}, 1_700_000_000_000_000),
    ({"observedAtMs": -0.0}, 0),
    ({"observedAtMs": -1}, -1000),
    ({"observedAtMs": EARLIEST // 1000}, EARLIEST),
    ({"observedAtMs": LATEST // 1000}, LATEST - 999),
    ({"observedAt": "1970-01-01T00:00:01Z", "observedAtMs": 1000}, SECOND),
)
REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"observedAt": "2026-07-08T24:00:00Z"}, "has an hour 24: write 00:00 of the day after"),
    ({"observedAt": "2026-07-08T23:59:61Z"}, "is no instant"),
    ({"observedAt": "2026-07-08T23:60:00Z"}, "is no instant"),
    ({"observedAt": "2026-02-29T00:00:00Z"}, "is no instant"),
    ({"observedAt": "0000-12-31T00:00:00Z"}, "is no instant"),
    ({"observedAt": "-0001-01-01T00:00:00Z"}, "is no instant"),
    ({"observedAt": "+10000-01-01T00:00:00Z"}, "is no instant"),
    ({"observedAt": "10000-01-01T00:00:00Z"}, "is no instant"),
    ({"observedAt": "0001-01-01T00:00:00+00:01"}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAt": "9999-12-31T23:59:59-00:01"}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAt": "2026-07-08T18:00:05+24:00"}, "is no instant"),
    ({"observedAt": "2026-07-08T18:00:05+25:00"}, "is no instant"),
    ({"observedAt": "2026-07-08T18:00:05"}, "has no time zone: append Z for UTC or an offset such as +02:00"),
    ({"observedAt": "2026-10-25T02:30:00"}, "has no time zone"),
    ({"observedAt": "2026-10-25T02:30:00 Europe/Berlin"}, "is no instant: expected ISO 8601"),
    ({"observedAt": "2026-07-08"}, "is no instant"),
    ({"observedAt": "now"}, "is no instant"),
    ({"observedAt": "infinity"}, "is no instant"),
    ({"observedAt": "NaN"}, "is no instant"),
    ({"observedAt": ""}, "is no instant"),
    ({"observedAt": "\0"}, "is no instant"),
    ({"observedAt": "２０２６-07-08T18:00:05Z"}, "is no instant"),
    ({"observedAt": 1_783_533_605}, '"observedAt" is a number; ISO 8601 text with a zone was expected'),
    ({"observedAt": 1.7e12}, '"observedAt" is a number'),
    ({"observedAt": None}, '"observedAt" is null'),
    ({"observedAt": True}, '"observedAt" is a boolean'),
    ({"observedAt": ["2026-07-08T18:00:05Z"]}, '"observedAt" is an array'),
    ({"observedAtMs": "1783533605123"}, '"observedAtMs" is a string; an integer was expected'),
    ({"observedAtMs": 0.5}, '"observedAtMs" is a number; an integer was expected'),
    ({"observedAtMs": math.nan}, "is no number of JSON"),
    ({"observedAtMs": math.inf}, "is no number of JSON"),
    ({"observedAtMs": True}, '"observedAtMs" is a boolean; an integer was expected'),
    ({"observedAtMs": None}, '"observedAtMs" is null; an integer was expected'),
    ({"observedAtMs": LATEST // 1000 + 1}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAtMs": EARLIEST // 1000 - 1}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAtMs": 1_783_533_605_123_456_789}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAtMs": 10**4000}, "lies outside the years 1 to 9999 in UTC"),
    ({"observedAt": "1970-01-01T00:00:01Z", "observedAtMs": 1001}, "name different instants"),
)


def line(times: dict[str, Any], number: int) -> dict[str, Any]:
    return {**times, "observer": f"till-{number}", "graph": {"localPeer": {"peerKey": f"till-{number}"}}}


def test_each_accepted_time_is_kept_to_the_microsecond(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        told = [line(times, number) for number, (times, _) in enumerate(ACCEPTED)]
        assert store.record_many(told).recorded == len(ACCEPTED)
        assert store.record_many(json.loads(json.dumps(told))).duplicates == len(ACCEPTED)
        assert store.record_many(json.dumps(each) for each in told).duplicates == len(ACCEPTED)
        kept = {each.observer: each.observed_at for each in store.observation_log()}
        for number, (_, expected) in enumerate(ACCEPTED):
            moment = kept[f"till-{number}"]
            assert parse_iso(iso(moment)) == expected, ACCEPTED[number]
            assert f"till-{number}" in store.presence_at(moment).peers
            if expected > EARLIEST:
                before = store.presence_at(moment - timedelta(microseconds=1), observer=f"till-{number}")
                assert before.peers == {}
    report("times accepted", engine=store_url.partition(":")[0], times=len(ACCEPTED))


def test_each_refused_time_is_kept_aside_with_its_sentence(store_url: str) -> None:
    with peerstore.open(store_url) as store:
        lines = [json.dumps(line(times, number)) for number, (times, _) in enumerate(REFUSED)]
        assert store.record_many(lines).rejected == len(REFUSED)
        reasons = [each.reason for each in store.rejects()]
        for (times, words), reason in zip(REFUSED, reasons, strict=True):
            assert words in reason or (isinstance(times.get("observedAtMs"), float) and "JSON" in reason), (
                times,
                reason,
            )
            assert reason.count("\n") == 0
            assert len(reason) < 300
        assert store.status().observations == 0
        for times, _ in REFUSED:
            with pytest.raises(peerstore.InputError):
                store.record({"localPeer": {"peerKey": "a"}}, observed_at=times.get("observedAt", "x"))
    report("times refused", engine=store_url.partition(":")[0], times=len(REFUSED))


def test_a_datetime_of_python_is_the_same_instant_in_every_zone(store_url: str) -> None:
    moment = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    zones = [UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (120, -660, 840, 1439, -1439))]
    with peerstore.open(store_url) as store:
        said = [store.record({"localPeer": {"peerKey": "a"}}, observed_at=moment.astimezone(zone)) for zone in zones]
        assert [each.status for each in said] == ["recorded"] + ["duplicate"] * (len(zones) - 1)
        with pytest.raises(peerstore.InvalidTime, match="has no time zone"):
            store.record({"localPeer": {"peerKey": "a"}}, observed_at=moment.replace(tzinfo=None))


ZONES = ("UTC", "Europe/Berlin", "Pacific/Apia", "Africa/Monrovia")
DAY = (
    ("2026-10-25T00:30:00Z", "Berlin's clocks say 02:30 for the first time"),
    ("2026-10-25T01:30:00Z", "and for the second"),
    ("2026-03-29T01:30:00Z", "a local time that Berlin does not have"),
    ("2011-12-30T12:00:00Z", "a day that Apia does not have"),
    ("1971-12-31T23:59:59.999999Z", "Monrovia is 44 minutes and 30 seconds behind"),
    ("1969-12-31T23:00:00Z", "before the epoch"),
)
PROGRAM = """
import json, os, sys, time
import peerstore
told = sys.stdin.readlines()
for zone in sys.argv[1:]:
    os.environ["TZ"] = zone
    time.tzset()
    with peerstore.open(":memory:") as store:
        store.record_many(map(json.loads, told))
        answers = [store.presence_at(state.observed_at).to_dict() for state in store.observation_log()]
        answers += [each.to_dict() for each in store.changes()] + [each.to_dict() for each in store.sessions()]
        print(json.dumps([time.localtime(0).tm_gmtoff, store.content_digest(), answers]))
"""


def test_the_zone_of_the_computer_changes_nothing(tmp_path: Path) -> None:
    told = "".join(
        json.dumps({"observedAt": at, "graph": {"localPeer": {"peerKey": "a", "deviceName": said}}}) + "\n"
        for at, said in DAY
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *ZONES],
        input=told,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(ZONES)
    assert all(answer[1:] == answers[0][1:] for answer in answers)
    offsets = {
        offset for offset, *_ in answers
    }  # at the epoch: 0, an hour, eleven hours back, 44 minutes and a half back
    if len(offsets) < len(ZONES):
        pytest.skip(f"this computer knows {len(offsets)} of {len(ZONES)} zones: the answers were equal in those")
    report("zones of the computer", zones=len(offsets), moments=len(DAY))
