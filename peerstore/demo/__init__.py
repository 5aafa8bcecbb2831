"""A simulated day of one restaurant's mesh, so that `peerstore demo` has a history to ask about.

**Everything here is made up.** No Ditto instance took part: device names begin with ``sim-``, every device's metadata
says ``"simulated": true``, keys and connection ids are drawn from the seed. The envelopes and graphs have the shape of
real ones.

How the day is made, one module a step:

* :mod:`peerstore.demo.mesh`: the devices, and a picture of the mesh from which a presence graph can be drawn;
* :mod:`peerstore.demo.day`: what happens when, scene by scene; :data:`STORY` is its table of contents;
* :mod:`peerstore.demo.observing`: four observers hear of it, each a little later than it happened, and deliver;
* :mod:`peerstore.demo.questions`: what to ask about the day, as command lines.

>>> first = next(demo_observations())
>>> first["observedAt"], first["graph"]["localPeer"]["deviceName"], first["graph"]["remotePeers"]
('2026-07-08T06:30:00.020Z', 'ditto', [])

What was thinned, compared with recordings of the real SDK:

* an unchanged graph is delivered again after 30 s, not 15 s; only from 13:30 to 14:30 the rhythm is the real one;
* the extra identical delivery that follows a burst of changes is left out;
* members that only repeat another one (``address``, ``peerKey``, ``peer1``, ``peerInfo``, ...) are left out;
* four devices of eighteen record what they see; the others are only seen.

What is simpler than in life: a vanished device is missed within a second, where far observers may need up to a minute
(one scene shows that); the hub takes more connections than a real peer would; an unknown ``os`` is null; the observers'
clocks agree.
"""

from __future__ import annotations

from peerstore.demo.day import DAY, STORY
from peerstore.demo.mesh import DEVICES, DemoDevice
from peerstore.demo.observing import OBSERVERS, DemoObserver, demo_observations, late_observations, live_observations
from peerstore.demo.questions import BEFORE_UPLOAD, QUESTIONS, questions

__all__ = [
    "BEFORE_UPLOAD",
    "DAY",
    "DEVICES",
    "OBSERVERS",
    "QUESTIONS",
    "STORY",
    "DemoDevice",
    "DemoObserver",
    "demo_observations",
    "late_observations",
    "live_observations",
    "questions",
]
