"""What to ask about the simulated day: each question with the command lines that answer it."""

from __future__ import annotations

from peerstore.demo.day import DAY

BEFORE_UPLOAD = "BEFORE_UPLOAD"
"""Stands in :data:`QUESTIONS` for a moment on the store's clock: after the live observations were recorded, and before
the late ones were. :func:`questions` puts in the real one."""


def _at(time: str) -> str:
    return f"{DAY}T{time}Z"


def _between(since: str, until: str) -> list[str]:
    return ["--since", _at(since), "--until", _at(until)]


QUESTIONS: list[tuple[str, list[list[str]]]] = [
    (
        "Who was connected at 14:03:30?",
        [["at", _at("14:03:30")]],
    ),
    (
        "Why did no order reach the kitchen then? What it lost when the hub went off, and how long the hub was away.",
        [
            ["diff", _at("14:02:50"), _at("14:03:30"), "--observer", "sim-kitchen-1"],
            ["sessions", "sim-hub", *_between("13:30:00", "14:30:00")],
        ],
    ),
    (
        "Who was our bridge to the cloud around lunch, and when had we none?",
        [["metadata", *_between("12:25:00", "14:15:00")]],
    ),
    (
        "sim-till-5 came and went in the morning: how often, and how does it look if gaps under a minute are joined?",
        [
            ["sessions", "sim-till-5", *_between("10:00:00", "11:00:00")],
            ["sessions", "sim-till-5", *_between("10:00:00", "11:00:00"), "--grace", "60s"],
        ],
    ),
    (
        "Over what was sim-till-4 connected while it was carried about?",
        [["connections", "--peer", "sim-till-4", *_between("08:00:00", "10:00:00")]],
    ),
    (
        "What was changed on sim-till-6 in the afternoon?",
        [
            ["metadata", "sim-till-6", *_between("14:00:00", "17:00:00")],
            ["peer", "sim-till-6"],
        ],
    ),
    (
        "Why are there two peers called sim-till-8? One goes, the other comes: a new key after a reinstallation.",
        [["diff", _at("11:14:00"), _at("11:20:00")]],
    ),
    (
        "When did sim-till-7 leave? Two observers disagree for forty seconds.",
        [
            ["sessions", "sim-till-7", *_between("12:00:00", "13:00:00"), "--observer", "sim-office-1"],
            ["sessions", "sim-till-7", *_between("12:00:00", "13:00:00"), "--observer", "sim-kitchen-1"],
        ],
    ),
    (
        "Who was watching, and who fell silent instead of stopping?",
        [
            ["observers"],
            ["changes", "--kind", "observer_stopped", "--since", _at("18:00:00")],
        ],
    ),
    (
        "Where was sim-till-9 at 15:55? Nobody knew, until the tablet uploaded what it had seen.",
        [
            ["at", _at("15:55:00"), "--known-at", BEFORE_UPLOAD],
            ["at", _at("15:55:00")],
        ],
    ),
]
"""Questions in the order of a walk-through: (the question, the arguments of ``peerstore`` that answer it)."""


def questions(before_upload: str) -> list[tuple[str, list[list[str]]]]:
    """:data:`QUESTIONS`, with the moment between the two recordings filled in (ISO 8601, on the store's clock)."""
    return [
        (sentence, [[before_upload if word == BEFORE_UPLOAD else word for word in command] for command in commands])
        for sentence, commands in QUESTIONS
    ]
