"""The days of a damaged database: of each observer and day, which rows are as they were recorded.

The digest of the day tells. Where the rows that stand in the tables do not match it, those that are kept a second time
(the timeline index) are tried in their place, and a few repairs of a single row; what matches is *certified*. Where
nothing matches and rows are lost, the others are *accepted* as far as their chain holds; where none is lost, one of
them must have been changed, nobody knows which, and the day is *doubtful*.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

from peerstore.chain import gap_before
from peerstore.day_digests import PRIME, DaySum, hash_of_change, hash_of_logged, number_of_observer
from peerstore.rescue.pages import Values
from peerstore.rescue.source import Known, Source
from peerstore.rescue.trees import Hole, Row
from peerstore.states import DAY, Logged, Position

_WATCHED = ("observation_log", "element_change", "ix_element_change_timeline")
_FEW = 2  # rows that got into another day by an accident
_MOST_TRIED = 20_000_000


Trust = Literal["certified", "accepted", "partial", "doubtful"]


class Change(NamedTuple):
    """A change row."""

    position: Position
    element: int
    document: int | None
    previous: int | None


class Gap(NamedTuple):
    """Rows may be lost after one position and before another; both may have lost some."""

    after: Position | None
    before: Position | None


class DayRows(NamedTuple):
    """The rows of an observer and a day, and how that is known. ``missing``: so many observations are lost (``None``:
    not known). ``log_gaps``, ``change_gaps``: where; ``short``: change rows are lost, and nobody knows where.
    ``is_detached``: whole days before it may be lost without a trace."""

    observer: int
    day: int
    key: str
    trust: Trust
    log: list[Logged]
    changes: list[Change]
    keyframes: list[tuple[Position, bytes]]
    missing: int | None
    log_gaps: Sequence[Gap]
    change_gaps: Sequence[Gap]
    short: bool
    is_detached: bool = False


def is_reliable(unit: DayRows) -> bool:
    """Whether all rows of a day are there."""
    return unit.trust in ("certified", "accepted")


def parted(unit: DayRows, moment: int) -> tuple[DayRows, DayRows]:
    """What stands before an instant, and what stands at it and after it."""
    early = unit._replace(
        log=[each for each in unit.log if each.observed_at < moment],
        changes=[each for each in unit.changes if each.position.observed_at < moment],
        keyframes=[each for each in unit.keyframes if each[0].observed_at < moment],
    )
    rest = unit._replace(
        log=unit.log[len(early.log) :],
        changes=unit.changes[len(early.changes) :],
        keyframes=unit.keyframes[len(early.keyframes) :],
    )
    return early, rest


def joined(one: DayRows, other: DayRows) -> DayRows:
    """The rows of two days, as those of one."""
    return one._replace(
        log=one.log + other.log, changes=one.changes + other.changes, keyframes=one.keyframes + other.keyframes
    )


class _Found(NamedTuple):
    """What was found of a day."""

    observer: int
    day: int
    log: list[Row]
    changes: list[Row]
    timeline: list[Row] | None
    recorded: DaySum | None
    keyframes: list[tuple[Position, bytes]]


def days(source: Source, known: Known) -> Iterator[DayRows]:
    """Every day of which anything is known, observer by observer, in order of time."""
    sums = _Sums(source)
    last: _Found | None = None
    for found in _days(source, sums):
        torn = {name: [each for each in source.holes(name) if _touches(each, name, found)] for name in _WATCHED}
        is_detached = last is not None and not sums.are_whole and _is_torn_between(source, last, found)
        yield _settle(found, known, sums, torn)._replace(is_detached=is_detached)
        last = found


def _is_torn_between(source: Source, last: _Found, found: _Found) -> bool:
    """Whether there are days of an observer between two of which nothing is known, and which may have had rows."""
    if last.observer != found.observer or found.day - last.day < 2:
        return False
    between = (last.observer, (last.day + 1) * DAY), (last.observer, found.day * DAY)
    holes = [*source.holes("element_change"), *source.holes("observation_log")]
    return any(
        (after is None or after[:2] < between[1]) and (before is None or before[:2] > between[0])
        for after, before in holes
    )


class _Sums:
    """All digests of days. ``are_whole``: a day that has none has no rows either. ``tries``: how many rows with a bit
    turned may still be tried."""

    def __init__(self, source: Source) -> None:
        has = source.has("day_digest")
        self.rows = list(source.rows("day_digest")) if has else []
        self.are_whole = has and not source.holes("day_digest")
        self.tries = _MOST_TRIED
        self.totals = {DaySum.of_row(*row.values[2:]).total for row in self.rows}


def _days(source: Source, sums: _Sums) -> Iterator[_Found]:
    timeline = source.timeline()
    streams: list[Iterator[tuple[tuple[int, int], int, Any]]] = [
        _tagged(0, source.rows("observation_log"), lambda row: (row.values[0], row.values[1] // DAY)),
        _tagged(1, source.rows("element_change"), lambda row: (row.values[0], row.values[1] // DAY)),
        _tagged(2, timeline or iter(()), lambda row: (row.values[0], row.values[6])),
        _tagged(3, source.keyframes(), lambda values: (values[0], values[1] // DAY)),
        _tagged(4, iter(sums.rows), lambda row: row.values[:2]),
    ]
    merged = heapq.merge(*streams, key=lambda each: each[:2])
    for (observer, day), group in groupby(merged, key=lambda each: each[0]):
        parts: list[list[Any]] = [[], [], [], [], []]
        for _, part, each in group:
            parts[part].append(each)
        log, changes, again, keyframes, digests = parts
        recorded = next((DaySum.of_row(*row.values[2:]) for row in digests), None)
        places = [(Position(values[1], values[2]), values[3]) for values in keyframes]
        yield _Found(observer, day, log, changes, None if timeline is None else again, recorded, places)


def _tagged(
    part: int, rows: Iterator[Any], of: Callable[[Any], tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], int, Any]]:
    return ((of(row), part, row) for row in rows)


def _touches(hole: Hole, name: str, found: _Found) -> bool:
    """Whether a hole can have rows of a day."""
    at = 1 if name == "ix_element_change_timeline" else DAY
    after = (-(2**63), 0) if hole.after is None else (hole.after[0], hole.after[1] // at)
    before = (2**63, 0) if hole.before is None else (hole.before[0], hole.before[1] // at)
    return after <= (found.observer, found.day) <= before


def _gap(hole: Hole, observer: int) -> Gap:
    """A hole as the positions of an observer."""
    after, before = hole
    return Gap(
        None if after is None or after[0] != observer else Position(*after[1:3]),
        None if before is None or before[0] != observer else Position(*before[1:3]),
    )


def _settle(found: _Found, known: Known, sums: _Sums, torn: dict[str, list[Hole]]) -> DayRows:
    keys = known.keys.get(found.observer, [])
    for key in keys:
        told = _Certifying(found, known, key, sums).told()
        if told is not None:
            return _day(found, key, "certified", *told, missing=0)
    log, changes, change_gaps = _values(found.log, sure=True), *_changes(found, torn)
    log_gaps = [_gap(each, found.observer) for each in torn["observation_log"]]
    recorded = found.recorded
    if not keys:
        missing = 0 if recorded is None else max(0, recorded.observations - len(log))
        return _day(found, "", "doubtful", log, changes, missing=missing)
    if recorded is None:
        is_stray = sums.are_whole and len(log) + len(changes) <= _FEW
        trust: Trust = "doubtful" if is_stray or _differ(found, torn) else "partial"
        if trust == "partial" and not (log_gaps or change_gaps or sums.are_whole):
            trust = "accepted"
        return _day(found, keys[0], trust, log, changes, log_gaps=log_gaps, change_gaps=change_gaps)
    missing, lacking = recorded.observations - len(log), recorded.changes - len(changes)
    is_changed = not missing and not lacking and _Certifying(found, known, keys[0], sums).is_told
    return _day(
        found,
        keys[0],
        "doubtful" if missing < 0 or lacking < 0 or is_changed else "partial",
        log,
        changes,
        missing=max(0, missing),
        log_gaps=log_gaps if missing else [],
        change_gaps=change_gaps if lacking else [],
        short=lacking > 0 and not change_gaps,
    )


def _day(
    found: _Found,
    key: str,
    trust: Trust,
    log: list[Values],
    changes: list[Values],
    *,
    missing: int | None = None,
    log_gaps: Sequence[Gap] = (),
    change_gaps: Sequence[Gap] = (),
    short: bool = False,
) -> DayRows:
    logged = [Logged._make(row[1:]) for row in log]
    changed = [Change(Position(*row[1:3]), *row[3:6]) for row in changes]
    return DayRows(
        found.observer, found.day, key, trust, logged, changed, found.keyframes, missing, log_gaps, change_gaps, short
    )


def _changes(found: _Found, torn: dict[str, list[Hole]]) -> tuple[list[Values], list[Gap]]:
    """The change rows of the table and where some are lost; those of the timeline where these are more."""
    changes = _values(found.changes, sure=True)
    gaps = [_gap(each, found.observer) for each in torn["element_change"]]
    if found.timeline is not None and not torn["ix_element_change_timeline"]:
        again = _values(found.timeline, sure=True)
        if len(again) > len(changes) or (gaps and len(again) == len(changes)):
            return again, []
    return changes, gaps


def _differ(found: _Found, torn: dict[str, list[Hole]]) -> bool:
    """Whether the change rows are kept twice, and not as the same."""
    if found.timeline is None or torn["element_change"] or torn["ix_element_change_timeline"]:
        return False
    return _values(found.changes) != _values(found.timeline)


def _values(rows: Iterable[Row], *, sure: bool = False) -> list[Values]:
    return sorted(row.values for row in rows if row.sure or not sure)


class _Certifying:
    """The search for the rows of a day that come to what was recorded of it."""

    def __init__(self, found: _Found, known: Known, key: str, sums: _Sums) -> None:
        self._recorded = found.recorded
        self._sums = sums
        self._others = sums.totals if found.recorded is None else set[int]()
        self._found = found
        self._known = known
        self._key = key
        self._number = number_of_observer(key)

    @property
    def is_told(self) -> bool:
        """Whether the digests of all elements and documents are known, so that rows as recorded would be certified."""
        return all(self._hash(row) is not None for row in _values(self._found.changes))

    def told(self) -> tuple[list[Values], list[Values]] | None:
        """The rows of the log and the change rows as they were recorded, if they can be told."""
        logs = _different([_values(self._found.log), _values(self._found.log, sure=True)])
        changes = self._copies()
        sums = [(log, sum(hash_of_logged(self._key, row) for row in log)) for log in logs]
        of_changes = [(rows, total) for rows in changes if (total := self._total(rows)) is not None]
        for rows, total in of_changes:
            for log, of_log in sums:
                if self._is((of_log + total) % PRIME):
                    return log, rows
        if self._recorded is None:
            return None
        for rows, total in of_changes:
            for log, of_log in sums:
                rest = (self._recorded.total - of_log - total) % PRIME
                mended = self._mended(log, rows, rest)
                if mended is not None:
                    return mended
        return None

    def _copies(self) -> list[list[Values]]:
        """The change rows of the table, of the timeline, of both together."""
        table, again = self._found.changes, self._found.timeline
        copies = [_values(table), _values(table, sure=True)]
        if again is not None:
            copies += [_values(again), _values(again, sure=True)]
            copies += [sorted({*copies[0], *copies[2]}), sorted({*copies[0]} & {*copies[2]})]
        return _different(copies)

    def _total(self, rows: list[Values]) -> int | None:
        total = 0
        for row in rows:
            part = self._hash(row)
            if part is None:
                return None
            total += part
        return total

    def _hash(self, row: Values) -> int | None:
        _, at, sequence, element, document, previous, _ = row
        item = self._known.element_number(element)
        now, before = self._known.document_number(document), self._known.document_number(previous)
        if item is None or now is None or before is None:
            return None
        return hash_of_change(self._number, at, sequence, item, now, before)

    def _is(self, total: int) -> bool:
        """Whether rows come to what was recorded: to all but a bit of it, if that is what was damaged; or, where the
        digest of the day is lost, to one that stands elsewhere."""
        if self._recorded is None:
            return total in self._others
        return (total ^ self._recorded.total).bit_count() <= 1

    def _mended(self, log: list[Values], changes: list[Values], rest: int) -> tuple[list[Values], list[Values]] | None:
        """The rows if a single one of them is put right; ``rest`` is what their sum lacks."""
        assert self._recorded is not None
        few = len(log) - self._recorded.observations, len(changes) - self._recorded.changes
        if few == (0, 0):
            mended = self._with_gaps(log, rest) or self._with_a_bit(log, rest)
            return None if mended is None else (mended, changes)
        if few == (1, 0):
            kept = [row for row in log if (hash_of_logged(self._key, row) + rest) % PRIME]
            return (kept, changes) if len(kept) == len(log) - 1 else None
        if few == (0, 1):
            kept = [row for row in changes if ((self._hash(row) or 0) + rest) % PRIME]
            return (log, kept) if len(kept) == len(changes) - 1 else None
        if few == (0, -1):
            found = self._lost_change(log, changes, rest)
            return None if found is None else (log, sorted([*changes, found]))
        return None

    def _with_gaps(self, log: list[Values], rest: int) -> list[Values] | None:
        """With ``gap_from`` worked out anew: it follows from the observations before."""
        mended, previous = [], None
        for row in log:
            logged = Logged._make(row[1:])
            if previous is not None:
                logged = logged._replace(gap_from=gap_before(previous, logged.observed_at))
            mended.append((row[0], *logged))
            previous = logged
        changed = [(one, other) for one, other in zip(log, mended, strict=True) if one != other]
        lack = sum(hash_of_logged(self._key, other) - hash_of_logged(self._key, one) for one, other in changed)
        return mended if changed and (lack - rest) % PRIME == 0 else None

    def _with_a_bit(self, log: list[Values], rest: int) -> list[Values] | None:
        """With one bit of a row turned."""
        for place, row in enumerate(log):
            own = hash_of_logged(self._key, row)
            if self._sums.tries <= 0:
                return None
            for other in _turned(row):
                self._sums.tries -= 1
                if (hash_of_logged(self._key, other) - own - rest) % PRIME == 0:
                    return sorted([*log[:place], other, *log[place + 1 :]])
        return None

    def _lost_change(self, log: list[Values], changes: list[Values], rest: int) -> Values | None:
        """The one change row that is lost, where a later one of its element tells what it led to."""
        state: dict[int, int | None] = {}
        for row in sorted(changes):
            element, document, previous = row[3:6]
            if element in state and state[element] != previous:
                for logged in log:
                    proposed = (*row[:1], *logged[1:3], element, previous, state[element], logged[1] // DAY)
                    part = self._hash(proposed)
                    if part is not None and (part - rest) % PRIME == 0:
                        return proposed
            state[element] = document
        return None


def _turned(row: Values) -> Iterator[Values]:
    """A row of the log with one bit of one of its values turned."""
    for column in (1, 2, 3, 4, 5, 6):
        value = row[column]
        if value is not None:
            for bit in range(1 if column == 4 else 56):
                yield (*row[:column], value ^ 1 << bit, *row[column + 1 :])


def _different(copies: Sequence[list[Values]]) -> list[list[Values]]:
    found: list[list[Values]] = []
    for each in copies:
        if each not in found:
            found.append(each)
    return found
