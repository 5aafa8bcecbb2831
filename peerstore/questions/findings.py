"""The plain words of the answer to why: each sentence rests on a fact of it, and none says more than the facts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from peerstore.answers.changes import Change
from peerstore.answers.why import Finding, NearestChanges, PresenceStretch, Why, Witness
from peerstore.times import MICROSECOND, format_duration, iso

_REASONS = {"left": "left", "stopped": "its last observer stopped", "silence": "its last observer fell silent"}


def findings(why: Why) -> Iterator[Finding]:
    """What the facts bear, the answer first."""
    yield _answer(why)
    yield from _absence(why)
    yield from _unwatched(why)
    if why.present:
        yield from _links(why)
        yield from _cloud(why)
    yield from _compatibility(why)
    for witness in why.witnesses:
        yield from _of_witness(why, witness)
    yield from _nearness(why)


def _answer(why: Why) -> Finding:
    at, key = time(why.at), why.peer_key
    if why.state == "unobserved":
        return _unobserved(why)
    watching = sum(witness.watching for witness in why.witnesses)
    if why.state == "absent":
        return Finding(
            f"{{0}} was absent at {at}: {_count(watching, 'observer was', 'observers were')} watching, and none saw it",
            (key,),
        )
    sees = sum(witness.sees is True for witness in why.witnesses)
    return Finding(
        f"{{0}} was present at {at}: {sees} of {_count(watching, 'watching observer', 'watching observers')} saw it",
        (key,),
    )


def _unobserved(why: Why) -> Finding:
    at, key = time(why.at), why.peer_key
    if why.facts_at is None:
        return Finding(f"nobody was watching at {at}, nor ever before: of {{0}} nothing is known", (key,))
    was, last = "present" if why.present else "absent", why.facts_at + MICROSECOND
    return Finding(
        f"nobody was watching at {at}: whether {{0}} was there is unknown, not absent; until {time(last)}, as long as "
        f"anybody was, it was {was}",
        (key,),
    )


def _absence(why: Why) -> Iterator[Finding]:
    """Since when and until when a peer was away."""
    if why.present or why.facts_at is None:
        return
    key, previous, following = why.peer_key, why.previous, why.following
    if previous is None:
        yield Finding(
            "{0} was never seen before that" if why.state != "unobserved" else "{0} had never been seen", (key,)
        )
    elif previous.end is not None:
        ago, reason = format_duration(why.at - previous.end), _REASONS[previous.end_reason or "left"]
        yield Finding(f"{{0}} was last present until {time(previous.end)}, {ago} before ({reason})", (key,))
    if following is not None:
        later = format_duration(following.start - why.at)
        yield Finding(f"{{0}} was present again from {time(following.start)}, {later} after", (key,))


def _unwatched(why: Why) -> Iterator[Finding]:
    for stretch in why.stretches:
        if stretch.state == "unobserved":
            yield Finding(f"nobody was watching from {_from_to(stretch)}: what happened then is unknown")
        elif stretch.state == "absent" and why.state == "present":
            yield Finding(f"{{0}} was absent from {_from_to(stretch)}", (why.peer_key,))


def _from_to(stretch: PresenceStretch) -> str:
    return f"{time(stretch.start)} to {time(stretch.end)}"


def _links(why: Why) -> Iterator[Finding]:
    key = why.peer_key
    links = [link for link in why.connections if "self_link" not in link.flags]
    if not links:
        yield _unlinked(why)
        if why.links_unobserved:
            yield Finding(f"nobody was watching for {format_duration(why.links_unobserved)} of that time")
    for link in links:
        other = link.peer2 if link.peer1 == key else link.peer1
        if len(links) == 1:
            yield Finding(f"the only connection of {{0}} was {_type(link.type)} to {{1}}", (key, other))
        if len(link.listed_by) == 1:
            lister = link.listed_by[0]
            silent = other if lister == key else key
            if lister in (key, other):
                told = f"{_type(link.type)} between {{0}} and {{1}} was listed by {{2}} alone, not by {{3}}"
                yield Finding(told, (key, other, lister, silent))
        if "unknown_peer" in link.flags:
            yield Finding(f"{{1}}, to which {{0}} had {_type(link.type)}, was not among the peers seen", (key, other))


def _unlinked(why: Why) -> Finding:
    """Since when and until when a present peer had no connection."""
    last, following = why.links_before, why.links_after
    sentence, keys = "{0} was connected to nobody", [why.peer_key]
    if last is not None and following is not None:
        sentence += f" from {time(last.observed_at)} to {time(following.observed_at)}"
    elif last is not None:
        sentence += f" since {time(last.observed_at)}"
    elif following is not None:
        sentence += f" before {time(following.observed_at)}"
    else:
        return Finding(f"{sentence}, as far as was ever seen", tuple(keys))
    for nearest, word in ((last, "last"), (following, "next")):
        if nearest is not None and nearest.changes:
            sentence += f"{':' if len(keys) == 1 else ';'} its {word} link{_of_link(why, nearest, word, keys)}"
    return Finding(sentence, tuple(keys))


def _of_link(why: Why, nearest: NearestChanges, word: str, keys: list[str]) -> str:
    change = nearest.changes[-1]
    assert change.connection is not None
    link = change.connection
    keys.append(link.peer2 if link.peer1 == why.peer_key else link.peer1)
    distance = format_duration(nearest.distance)
    to = f", {_type(link.type)} to {{{len(keys) - 1}}},"
    if change.across_gap:
        there = "was gone" if word == "last" else "was there"
        return f"{to} {there} when somebody watched again, at {time(nearest.observed_at)}"
    if word == "last":
        return f"{to} ended at {time(nearest.observed_at)}, {distance} before ({change.reason or 'left'})"
    return f"{to} began {distance} after"


def _cloud(why: Why) -> Iterator[Finding]:
    cloud, key = why.cloud, why.peer_key
    if cloud is None:
        return
    if cloud.own is True:
        yield Finding("{0} said that it had a link of its own to the cloud", (key,))
    elif cloud.bridge is not None and cloud.hops is not None:
        over = cloud.path[1:-1]
        way = f" over {', '.join(f'{{{place}}}' for place in range(2, len(over) + 2))}" if over else ""
        hops = _count(cloud.hops, "hop", "hops")
        yield Finding(
            f"the nearest way of {{0}} to the cloud was by {{1}}, {hops} away{way}", (key, cloud.bridge, *over)
        )
    elif cloud.bridges:
        there = _count(len(cloud.bridges), "peer", "peers")
        sentence = f"{{0}} was cut off from the cloud: {there} had a link to it, {{1}} for one, in another island than "
        yield Finding(sentence + f"its own of {_count(cloud.island, 'peer', 'peers')}", (key, cloud.bridges[0]))
    else:
        yield Finding("{0} had no way to the cloud: no peer seen had a link to it", (key,))


def _compatibility(why: Why) -> Iterator[Finding]:
    version = None if why.peer is None else why.peer.sdk_version
    for witness in why.witnesses:
        if witness.is_compatible is False:
            sdk = f"the SDK of {{1}} ({braced(version)})" if version else "the SDK of {1}"
            yield Finding(f"{{0}} found {sdk} incompatible with its own", (witness.observer, why.peer_key))


def _of_witness(why: Why, witness: Witness) -> Iterator[Finding]:
    keys = (witness.observer, why.peer_key)
    if witness.not_watching in ("stopped", "silence"):
        did = "had stopped" if witness.not_watching == "stopped" else "had been silent for too long"
        since = f" since {time(witness.watched_until)}" if witness.watched_until else ""
        yield Finding(f"{{0}} was not watching{since}: it {did}", keys[:1])
    elif witness.sees is False and why.state == "present":
        island = ", and was in another island" if witness.island == "other" else ""
        yield Finding(f"{{0}} was watching and did not see {{1}}{island}", keys)


def _nearness(why: Why) -> Iterator[Finding]:
    """How old what is said is."""
    ages = [witness.age for witness in why.witnesses if witness.sees is (why.state == "present") and witness.age]
    watching = [witness for witness in why.witnesses if witness.watching]
    if why.state != "unobserved" and watching and ages and min(ages) > why.within:
        yield Finding(f"the newest observation that says so was {format_duration(min(ages))} old")


def described(change: Change) -> str:
    """A change in few words, without its peer.

    >>> described(Change("changed", datetime(2026, 7, 8), path="/os"))
    'changed /os'
    """
    if change.connection is not None:
        return f"{change.kind} {change.connection.type}"
    return f"{change.kind} {change.path}" if change.path else change.kind


def time(moment: datetime | None) -> str:
    """An instant without decimals that are zero."""
    if moment is None:
        return ""
    text = iso(moment)
    return text.replace(".000000Z", "Z") if text.endswith(".000000Z") else text.replace("000Z", "Z")


def braced(text: str) -> str:
    """A text of strangers, so that it stands for itself within a sentence."""
    return text.replace("{", "{{").replace("}", "}}")


def _type(text: str) -> str:
    return braced(text) or "a connection"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
