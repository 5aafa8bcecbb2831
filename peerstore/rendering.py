"""Recorded graphs as the JSON text of a Ditto SDK, one after the other, at the cost of what changed between them.

The text is that of :func:`peerstore.ditto_render.render`, without spaces and in ASCII; a peer whose document and list
of connections are as before is not rendered again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from peerstore.canonical import Json
from peerstore.dictionary import Dictionary
from peerstore.ditto_peers import GRAPH
from peerstore.ditto_render import Shape, by_id, copies_of, render_connection, render_peer
from peerstore.model import Element
from peerstore.replay import Replayed

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Rendering:
    """Renders the observations of a replay; those of one observer must come in its order."""

    def __init__(self, connection: Connection, dictionary: Dictionary, shape: Shape = "raw-v3") -> None:
        self._connection = connection
        self._dictionary = dictionary
        self._shape: Shape = shape
        self._views: dict[str, _View] = {}

    def text(self, each: Replayed) -> bytes:
        """The graph of an observation, ``null`` for a stop marker."""
        view = self._views.get(each.observer)
        if view is None:
            view = self._views[each.observer] = _View(self._shape)
        changed = each.state.keys() | view.known.keys() if each.changed is None else each.changed
        if changed:
            elements = self._dictionary.elements(self._connection, changed)
            numbers = {number for number in map(each.state.get, changed) if number is not None}
            numbers.update(view.known[number] for number in changed if number in view.known)
            documents = self._dictionary.documents(self._connection, numbers)
            for number in changed:
                before, after = view.known.get(number), each.state.get(number)
                values = [None if one is None else documents[one].value for one in (before, after)]
                view.change(number, elements[number], after, *values)
            view.render()
        return b"null" if each.logged.stopped else view.text


class _View:
    """One observer's graph, as text in parts."""

    def __init__(self, shape: Shape) -> None:
        self.known: dict[int, int] = {}
        self.text = b"{}"
        self._shape: Shape = shape
        self._graph: Mapping[str, Any] = {}
        self._documents: dict[str, Mapping[str, Any]] = {}
        self._lists: dict[str, dict[Element, Mapping[str, Json]]] = {}
        self._texts: dict[str, str] = {}
        self._touched: set[str] = set()

    def change(self, number: int, element: Element, document: int | None, before: Any, after: Any) -> None:
        """An element has another document (``None``: it is not there)."""
        if document is None:
            self.known.pop(number, None)
        else:
            self.known[number] = document
        if element == GRAPH:
            self._graph = after or {}
        elif element.kind == "peer":
            self._touched.add(element.key)
            if after is None:
                self._documents.pop(element.key, None)
            else:
                self._documents[element.key] = after
        else:
            self._relist(element, before, after)

    def _relist(self, element: Element, before: Any, after: Any) -> None:
        for lister, _ in () if before is None else copies_of(element, before):
            self._lists[lister].pop(element)
            self._touched.add(lister)
        for lister, extra in () if after is None else copies_of(element, after):
            self._lists.setdefault(lister, {})[element] = extra
            self._touched.add(lister)

    def render(self) -> None:
        """Make the text of what changed, and of the whole."""
        for key in self._touched:
            if key in self._documents:
                peer = render_peer(key, self._documents[key], self._listed([key]), self._shape)
                self._texts[key] = _encode(peer)
            else:
                self._texts.pop(key, None)
            if not self._lists.get(key, True):
                del self._lists[key]
        self._touched.clear()
        self.text = self._whole().encode()

    def _listed(self, listers: Iterable[str]) -> list[dict[str, Any]]:
        links = [(element, lister) for lister in listers for element in self._lists.get(lister, ())]
        return [
            render_connection(element, self._lists[lister][element], self._shape) for element, lister in sorted(links)
        ]

    def _whole(self) -> str:
        local = self._graph.get("local_peer", "")
        members = [f'"localPeer":{self._texts[local]}'] if local in self._texts else []
        remotes = ",".join(self._texts[key] for key in sorted(self._texts) if key != local)
        members.append(f'"remotePeers":[{remotes}]')
        own = self._listed(self._lists.keys() - self._documents.keys())
        rest: dict[str, Any] = {"connections": by_id(own)} if own else {}
        rest.update(self._graph.get("extra", {}))
        members += [f"{_encode(name)}:{_encode(value)}" for name, value in rest.items()]
        return "{" + ",".join(members) + "}"
