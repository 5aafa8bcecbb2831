"""What is left out of an export, and what is disguised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import peerstore
from peerstore.exporting.disguise import Disguise
from tests.strategies import graphs, pk
from tests.test_export_ndjson import at, mesh

KEY = bytes(range(32))


def test_what_is_redacted_is_gone_from_every_answer(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store:
        for second, owner in enumerate(("ann", "ben", "ann")):
            store.record(
                mesh("a", peerMetadata={"owner": {"name": owner}, "role": "till", "list": [1, {"x": owner}]}),
                at(second),
            )
        store.export(
            tmp_path / "x.ndjson", redact=["/peer_metadata/owner", "/peer_metadata/list/1/x", "/device_name/x"]
        )
        content = (tmp_path / "x.ndjson").read_bytes()
        assert b"ann" not in content
        assert b"ben" not in content
        assert b'"role":"till"' in content
        told = json.loads((tmp_path / "x.ndjson.manifest.json").read_text())["redacted"]
        assert told == {"/device_name/x": 0, "/peer_metadata/list/1/x": 2, "/peer_metadata/owner": 2}
        with peerstore.open(":memory:") as again:
            again.record_many(content.splitlines())
            assert [change.path for change in again.metadata_changes("till")] == []
        wrong = {"": "empty", "/peerMetadata/owner": "did you mean /peer_metadata", "/what": "they begin with"}
        for path, said in wrong.items():
            with pytest.raises(peerstore.InputError, match=said):
                store.export(tmp_path / "y.ndjson", redact=[path])


def test_a_name_that_is_redacted_is_in_no_handle_either(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store:
        store.record(
            {"remotePeers": [{"deviceName": "secret"}, {"deviceName": "secret", "os": "Linux"}]}, at(0), observer="o"
        )
        store.export(tmp_path / "x.csv", redact=["/device_name"])
        assert not any(b"secret" in each.read_bytes() for each in (tmp_path / "x.csv").iterdir())
        assert store.export(tmp_path / "y.csv", peers=["anonymous:o:secret:2"]).counts["peers"] == 2  # and the observer


def test_keys_in_metadata_get_their_pseudonyms_in_any_spelling(tmp_path: Path) -> None:
    key = bytes.fromhex("0287028243") + bytes(range(33))
    text = pk(key)
    told = {
        text: 1,
        "url": f"ditto://{text}/x",
        "hex": key.hex(),
        "bytes": list(key),
        "own": "kitchen",
        "other": "chicken",
    }
    with peerstore.open(":memory:") as store:
        store.record(mesh("kitchen", peerMetadata=told), at(0))
        store.export(tmp_path / "x.ndjson", pseudonym_key=KEY)
        metadata = json.loads((tmp_path / "x.ndjson").read_text())["graph"]["localPeer"]["peerMetadata"]
        pseudonym = metadata["hex"]
        assert pseudonym.startswith("peer-")
        assert metadata == {
            pseudonym: 1,
            "url": f"ditto://{pseudonym}/x",
            "hex": pseudonym,
            "bytes": pseudonym,
            "own": metadata["own"],
            "other": "chicken",
        }
        assert metadata["own"].startswith("peer-")
        assert metadata["own"] != pseudonym


def test_pseudonyms_are_stable_within_a_key_and_tell_nothing(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store:
        told = {"peers": ["kitchen", "pkAocCgkMCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]}
        store.record(mesh("kitchen", "bar", peerMetadata=told, unknown="till's own", address={"siteId": 77}), at(0))
        store.record(mesh("kitchen"), at(5))

        def lines(name: str, key: bytes) -> list[Any]:
            store.export(tmp_path / name, pseudonym_key=key)
            return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

        first, again, other = lines("a.ndjson", KEY), lines("b.ndjson", KEY), lines("c.ndjson", bytes(32))
        assert first == again != other
        text = json.dumps(first)
        for secret in ("till", "Till", 'kitchen"', "bar", "pkAocCgkMC", ": 77", "own"):
            assert secret not in text.replace('kitchen", "peer-', "")
        assert len({observation["observer"] for observation in first}) == 1
        ids = [link["id"] for link in first[0]["graph"]["localPeer"]["connections"]]
        assert len(set(ids)) == 2
        assert all(name.startswith("link-") for name in ids)
        sessions = [(session.start, session.end) for session in store.sessions()]
        store.export(tmp_path / "d.ndjson", pseudonym_key=KEY)
        with peerstore.open(":memory:") as disguised:
            disguised.record_many((tmp_path / "d.ndjson").read_bytes().splitlines())
            assert sorted((session.start, str(session.end)) for session in disguised.sessions()) == sorted(
                (start, str(end)) for start, end in sessions
            )
        with pytest.raises(peerstore.InputError, match="at least 16"):
            store.export(tmp_path / "e.ndjson", pseudonym_key=b"short")
        assert not (tmp_path / "e.ndjson").exists()


def test_only_some_peers(tmp_path: Path) -> None:
    with peerstore.open(":memory:") as store, peerstore.open(":memory:") as again:
        graph = mesh("a", "b", "c")
        graph["remotePeers"][0]["connections"] = [{"id": "ab", "peer1": "a", "peer2": "b", "connectionType": "P2PWiFi"}]
        graph["remotePeers"][1]["connections"] = [{"id": "ab", "peer1": "a", "peer2": "b", "connectionType": "P2PWiFi"}]
        store.record(graph, at(0))
        store.export(tmp_path / "x.ndjson", peers=["b"])
        again.record_many((tmp_path / "x.ndjson").read_bytes().splitlines())
        presence = again.presence_at(at(0))
        assert set(presence.peers) == {"till", "b"}
        assert {(link.peer1, link.peer2) for link in presence.connections} == {("a", "b"), ("b", "till")}
        assert list(store.export(tmp_path / "y.ndjson", peers=["b"], observer="till").counts.values()) == [1]


@settings(max_examples=15, phases=(Phase.generate,))
@given(graph=graphs(), peers=st.sampled_from([(), ("a",)]), key=st.sampled_from([None, KEY]))
def test_any_graph_in_disguise_is_a_history_of_its_own(graph: Any, peers: tuple[str, ...], key: bytes | None) -> None:
    disguise = Disguise(peers, ["/os"], key)
    with peerstore.open(":memory:") as store, peerstore.open(":memory:") as copied, peerstore.open(":memory:") as again:
        try:
            store.record(graph, at(0), observer="o")
        except peerstore.InputError:
            return
        assert copied.record_from(store, change=disguise.of).recorded == 1
        path = Path(str(copied._database.path)).with_name("x.ndjson")
        copied.export(path)
        assert again.record_many(path.read_bytes().splitlines()).recorded == 1
        assert again.content_digest() == copied.content_digest()
        assert not any("os" in peer.document for peer in copied.presence_at(at(0)).peers.values())
