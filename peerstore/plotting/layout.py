"""Where the peers of a mesh stand in its picture: by the mesh alone, so that the same mesh is the same picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import networkx
import numpy

from peerstore.model import Connection

SEED = 7
ROUNDS, ROUNDS_FOR_MANY, MANY = 300, 60, 500
MARGINS = (1.5, 0.9)
ROOM = (1.1, 0.42)
SLOPE = math.radians(20)

Places = dict[str, tuple[float, float]]


class Island(NamedTuple):
    """Where the peers of an island stand in its box."""

    places: Places
    width: float
    height: float


class Box(NamedTuple):
    """Where the box of an island lies, and how many peers are in it."""

    x: float
    y: float
    width: float
    height: float
    peers: int


class Placed(NamedTuple):
    """Where everything stands: every peer (ends that are not among the peers too), and the box of each island."""

    places: Places
    boxes: list[Box]
    width: float
    height: float


def placed(shown: Iterable[str], links: Iterable[Connection]) -> Placed:
    """Each island laid out by itself, the islands beside and below each other, the largest first."""
    graph: Any = networkx.Graph()
    graph.add_nodes_from(shown)
    graph.add_edges_from((link.peer1, link.peer2) for link in links if link.peer1 != link.peer2)
    islands = [_laid_out(graph, island) for island in networkx.connected_components(graph)]
    islands.sort(key=lambda island: (-len(island.places), min(island.places)))
    area = sum(island.width * island.height for island in islands)
    row = max([math.sqrt(area) * 1.4, *(island.width for island in islands)], default=1.0)
    places: Places = {}
    boxes = []
    x = y = tallest = widest = 0.0
    for island in islands:
        if x and x + island.width > row:
            x, y, tallest = 0.0, y + tallest, 0.0
        tallest = max(tallest, island.height)
        boxes.append(Box(x, -y - island.height, island.width, island.height, len(island.places)))
        places |= {key: (x + dx, -y - island.height + dy) for key, (dx, dy) in island.places.items()}
        x += island.width
        widest = max(widest, x)
    return Placed(places, boxes, widest, y + tallest)


def _laid_out(graph: Any, keys: set[str]) -> Island:
    """An island in a box from (0, 0) on: connected peers near each other, its longer way rising a little to the right,
    so that the names of neighbours do not stand upon each other."""
    part = networkx.Graph()
    part.add_nodes_from(sorted(keys))
    part.add_edges_from(sorted(tuple(sorted(edge)) for edge in graph.subgraph(keys).edges))
    spring = _sprung(part)
    points = numpy.array([spring[key] for key in part])
    points = (points - points.mean(axis=0)) @ _turn(points)
    points = _apart(points * _stretch(points))
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = (high - low + MARGINS).tolist()
    points += numpy.array(MARGINS) / 2 - low + (0, 0.05)  # a name hangs below its peer
    return Island({key: (float(x), float(y)) for key, (x, y) in zip(part, points, strict=True)}, width, height)


def _sprung(part: Any) -> Any:
    """Where springs along the connections pull the peers; another method for many, since that one would need scipy."""
    count = len(part)
    if count < MANY:
        return networkx.spring_layout(part, seed=SEED, iterations=ROUNDS, k=2.2 / math.sqrt(count), method="force")
    return networkx.forceatlas2_layout(part, seed=SEED, max_iter=ROUNDS_FOR_MANY)


def _turn(points: Any) -> Any:
    """The rotation that brings the longest extent of points to a slight slope."""
    directions = numpy.linalg.eigh(numpy.cov(points.T))[1] if len(points) > 1 else numpy.eye(2)
    longest = directions[:, -1] * (1 if directions[0, -1] >= 0 else -1)
    angle = math.atan2(longest[1], longest[0]) - SLOPE
    return numpy.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _stretch(points: Any) -> float:
    """By how much points must be drawn apart for most of them to have room for their names."""
    if len(points) == 1:
        return 1.0
    apart = numpy.hypot(*(points[:, None, :] - points[None, :, :]).transpose(2, 0, 1))
    longest = float(apart.max())
    numpy.fill_diagonal(apart, numpy.inf)
    near = float(numpy.quantile(apart.min(axis=1), 0.25))
    return min(1 / max(near, 1e-9), max(2.2 * math.sqrt(len(points)), 7.0) / longest)


def _apart(points: Any) -> Any:
    """The points after those whose names would touch have pushed each other away."""
    rounds = ROUNDS if len(points) < MANY else ROUNDS_FOR_MANY
    for _ in range(rounds if len(points) > 1 else 0):
        between = points[:, None, :] - points[None, :, :]
        far = numpy.hypot(*(between / ROOM).transpose(2, 0, 1))
        numpy.fill_diagonal(far, 1.0)
        if far.min() >= 1.0:
            break
        push = numpy.clip(1.0 - far, 0.0, None) / numpy.maximum(far, 1e-3)
        points = points + (between * push[:, :, None]).sum(axis=1) / 4
    return points
