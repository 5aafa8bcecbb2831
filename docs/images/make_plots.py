"""Draw the pictures of docs/pictures.md, of the simulated day: ``python docs/images/make_plots.py``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import peerstore
from peerstore import plotting
from peerstore.demo import DAY, late_observations, live_observations

FOLDER = Path(__file__).parent


def draw(folder: Path) -> list[Path]:
    """Draw them into a folder; which files they are."""
    files = [folder / f"plot-{name}.svg" for name in ("timeline", "mesh", "uptime", "transports", "rollout")]
    timeline, mesh, uptime, transports, rollout = files
    with peerstore.open(":memory:") as store:
        store.record_many(live_observations())
        store.record_many(late_observations())
        watcher = store.resolve_peer("sim-till-3")
        plotting.plot_timeline(store, timeline, observer=watcher, since=at("13:00"), until=at("22:00"))
        plotting.plot_mesh(store, mesh, at("14:05"))
        plotting.plot_uptime(store, uptime, observer=watcher, since=at("09:00"), until=at("22:00"))
        plotting.plot_transports(store, transports, timedelta(minutes=15))
        plotting.plot_rollout(store, rollout)
    return files


def at(time: str) -> datetime:
    """A time of the simulated day."""
    return datetime.fromisoformat(f"{DAY}T{time}").replace(tzinfo=UTC)


if __name__ == "__main__":
    draw(FOLDER)
