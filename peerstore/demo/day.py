"""What happens on the simulated day, scene by scene.

A scene has a time of day (UTC), a sentence for people, and a function that adds its events to the :class:`Script`.
:data:`STORY` is made of the scenes themselves, so that the story told and the events played are one text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from peerstore.demo.mesh import DEVICES, HUB, KITCHEN_DISPLAYS, REINSTALLED, TILLS, Picture, dice

DAY = "2026-07-08"
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def clock(time: str) -> int:
    """A time of day as milliseconds since midnight.

    >>> clock("14:03")
    50580000
    """
    hours, minutes = time.split(":")
    return int(hours) * HOUR + int(minutes) * MINUTE


@dataclass(frozen=True)
class Event:
    """Something that happens at ``at`` (milliseconds since midnight): a method of :class:`Picture` and its arguments.

    ``late`` names observers to whom the news of it takes longer than usual: by how many milliseconds.
    """

    at: int
    what: Callable[..., None]
    arguments: tuple[Any, ...]
    late: Mapping[str, int] = field(default_factory=dict)

    def concerns(self, device: str) -> bool:
        """Whether the device is one of those to which it happens."""
        return device in self.arguments

    def happen(self, picture: Picture) -> None:
        """Let it be so in the picture."""
        self.what(picture, *self.arguments)


class Script:
    """The events of the day, as the scenes write them down."""

    def __init__(self, seed: int) -> None:
        self.chance = dice(seed, "day")
        self.events: list[Event] = []

    def add(self, at: int, what: Callable[..., None], *arguments: Any, late: Mapping[str, int] | None = None) -> None:
        """At ``at``, ``what`` happens."""
        self.events.append(Event(at, what, arguments, late or {}))

    def seconds(self, least: int, most: int) -> int:
        """A random time between two numbers of seconds, in milliseconds."""
        return self.chance.randint(least * SECOND, most * SECOND)

    def switch_on(self, at: int, device: str) -> None:
        """A device starts and joins the mesh; it has the name "ditto", and no company, for the first two seconds."""
        self.add(at, Picture.start, device)
        self.add(at + 2 * SECOND, Picture.start_sync, device)
        self.join(at + 4 * SECOND, device)

    def first_switch_on(self, at: int, device: str) -> None:
        """A key nobody has met starts: its os, SDK version and metadata are learned one after another."""
        self.switch_on(at, device)
        self.add(at + 9 * SECOND, Picture.introduce, device)
        self.add(at + 12 * SECOND, Picture.set_metadata, device, DEVICES[device].metadata())

    def join(self, at: int, device: str) -> None:
        """A device makes its connections: Wi-Fi, then Bluetooth."""
        self.add(at, Picture.join_wifi, device)
        self.add(at + 2 * SECOND, Picture.join_bluetooth, device)


class Scene(NamedTuple):
    """One entry of the day."""

    time: str
    sentence: str
    play: Callable[[Script, int], None]


SCENES: list[Scene] = []


def scene(time: str, sentence: str) -> Callable[[Callable[[Script, int], None]], Callable[[Script, int], None]]:
    """Enter the decorated function as the scene that begins at ``time``."""

    def enter(play: Callable[[Script, int], None]) -> Callable[[Script, int], None]:
        SCENES.append(Scene(time, sentence, play))
        return play

    return enter


def events(seed: int) -> list[Event]:
    """All events of the day, in the order in which they happen."""
    script = Script(seed)
    for entry in SCENES:
        entry.play(script, clock(entry.time))
    return sorted(script.events, key=lambda event: event.at)


@scene(
    "06:30",
    "The branch opens: the office, the hub, the kitchen displays and the tills start one after another until 07:40. "
    'A device is called "ditto" until its sync starts; its os, SDK version and metadata are learned seconds later. '
    "sim-office-1 has the link to the cloud.",
)
def opening(script: Script, at: int) -> None:
    script.first_switch_on(at, "sim-office-1")
    script.add(at + 20 * SECOND, Picture.set_cloud, "sim-office-1", True)
    for place, device in enumerate((HUB, *KITCHEN_DISPLAYS, *TILLS), start=1):
        script.first_switch_on(at + place * 4 * MINUTE + script.seconds(0, 90), device)


@scene(
    "08:00",
    "Tills are carried about, now until 10:00 and again from 17:00 to 19:00: each drops from AccessPoint to Bluetooth "
    "for some minutes and comes back. The manager's tablet starts; it records all day, but has no way to upload.",
)
def roaming(script: Script, at: int) -> None:
    script.first_switch_on(at, "sim-manager-tablet")
    for hour in (clock("08:00"), clock("09:00"), clock("17:00"), clock("18:00")):
        for till in TILLS:
            gone = hour + script.seconds(5 * 60, 50 * 60)
            device = REINSTALLED if till == "sim-till-8" and hour > clock("12:00") else till
            script.add(gone, Picture.disconnect, device, "AccessPoint")
            script.add(gone + script.seconds(60, 240), Picture.join_wifi, device)


@scene("10:20", "sim-till-5 flaps for ten minutes: it loses all its connections and regains them, again and again.")
def flapping(script: Script, at: int) -> None:
    lost = at + 5 * SECOND
    while lost < at + 10 * MINUTE:
        back = lost + script.seconds(8, 25)
        script.add(lost, Picture.disconnect, "sim-till-5")
        script.join(back, "sim-till-5")
        lost = back + script.seconds(10, 40)


@scene("11:15", "sim-till-8 is reinstalled: four minutes later it is back under a new key, with the same name.")
def reinstallation(script: Script, at: int) -> None:
    script.add(at, Picture.leave, "sim-till-8")
    script.first_switch_on(at + 4 * MINUTE, REINSTALLED)


@scene(
    "12:00", "For four minutes only sim-till-1 lists its Bluetooth connection to sim-till-2; the other end does not."
)
def one_sided_connection(script: Script, at: int) -> None:
    script.add(at, Picture.list_at_one_end, "sim-till-1", "sim-till-2", "Bluetooth")
    script.add(at + 4 * MINUTE, Picture.connect, "sim-till-1", "sim-till-2", "Bluetooth")


@scene(
    "12:20",
    "The battery of sim-till-7 is empty. sim-kitchen-1 hears of it only after 40 seconds: until then the observers "
    "disagree. The till is back at 12:50.",
)
def empty_battery(script: Script, at: int) -> None:
    script.add(at, Picture.leave, "sim-till-7", late={"sim-kitchen-1": 40 * SECOND})
    script.switch_on(at + 30 * MINUTE, "sim-till-7")


@scene(
    "12:30",
    "The line of the back office is down for an hour: sim-till-2, by its mobile link, is the only bridge to the cloud.",
)
def only_bridge(script: Script, at: int) -> None:
    script.add(at, Picture.set_cloud, "sim-office-1", False)
    script.add(at + 5 * SECOND, Picture.set_cloud, "sim-till-2", True)
    script.add(at + HOUR, Picture.set_cloud, "sim-office-1", True)
    script.add(at + HOUR + 5 * SECOND, Picture.set_cloud, "sim-till-2", False)


@scene(
    "13:40", "sim-office-1 loses its link to the cloud again, until 14:10, and no till stands in: nobody has the cloud."
)
def no_cloud(script: Script, at: int) -> None:
    script.add(at, Picture.set_cloud, "sim-office-1", False)
    script.add(at + 30 * MINUTE, Picture.set_cloud, "sim-office-1", True)


@scene(
    "14:03",
    "sim-hub is switched off for nine minutes: the mesh splits into two islands, each held together by Bluetooth: "
    "the front, and the kitchen with the tills 10 to 12.",
)
def split(script: Script, at: int) -> None:
    script.add(at, Picture.leave, HUB)
    script.switch_on(at + 9 * MINUTE, HUB)


@scene(
    "14:20",
    "SDK 5.1.0 is rolled out to the tills, which ran 4.14.4: one every seven minutes, each away for a minute or more "
    "to restart. sim-till-3, which records, falls silent meanwhile.",
)
def rollout(script: Script, at: int) -> None:
    for place, till in enumerate(TILLS):
        device = REINSTALLED if till == "sim-till-8" else till
        begins = at + place * 7 * MINUTE
        script.add(begins, Picture.leave, device)
        script.add(begins + 5 * SECOND, Picture.set_sdk, device, "5.1.0")
        script.switch_on(begins + script.seconds(60, 90), device)


@scene(
    "15:50",
    "sim-manager-tablet and sim-till-9 are out on the terrace for twenty minutes, an island of two over P2PWiFi. "
    "Only the tablet can tell, and it uploads late.",
)
def terrace(script: Script, at: int) -> None:
    pair = ("sim-manager-tablet", "sim-till-9")
    for device in pair:
        script.add(at, Picture.disconnect, device)
        script.add(at + 20 * MINUTE, Picture.disconnect, device, "P2PWiFi")
        script.join(at + 20 * MINUTE + 2 * SECOND, device)
    script.add(at + 3 * SECOND, Picture.connect, *pair, "P2PWiFi")


@scene("16:20", 'Someone sets the role of sim-till-6 from "till" to "self-checkout", and back at 16:50.')
def other_role(script: Script, at: int) -> None:
    script.add(at, Picture.set_metadata, "sim-till-6", {"role": "self-checkout"})
    script.add(at + 30 * MINUTE, Picture.set_metadata, "sim-till-6", {"role": "till"})


@scene(
    "18:30",
    "The manager goes home: the tablet stops recording with a stop marker. Its observations of the whole day are "
    "uploaded only after closing time: they are recorded last.",
)
def manager_goes_home(script: Script, at: int) -> None:
    script.add(at + 2 * SECOND, Picture.leave, "sim-manager-tablet")


@scene("19:30", "The power supply of sim-kitchen-1, which records, fails: it falls silent without a farewell.")
def dead_observer(script: Script, at: int) -> None:
    script.add(at, Picture.leave, "sim-kitchen-1")


@scene("21:00", "sim-till-3 ends its recording with a stop marker, and is switched off.")
def clean_stop(script: Script, at: int) -> None:
    script.add(at + 2 * SECOND, Picture.leave, "sim-till-3")


@scene("21:05", "The other devices are switched off one after another; at 22:00 sim-office-1 is the last to stop.")
def closing(script: Script, at: int) -> None:
    gone = ("sim-till-3", "sim-till-8", "sim-kitchen-1")
    closed = [device for device in (*TILLS, REINSTALLED, *KITCHEN_DISPLAYS, HUB) if device not in gone]
    for place, device in enumerate(closed):
        script.add(at + place * 3 * MINUTE + script.seconds(0, 90), Picture.leave, device)


STORY: list[tuple[str, str]] = [(entry.time, entry.sentence) for entry in SCENES]
"""What happens on the day, in order: (time of day in UTC, sentence). The date is :data:`DAY`."""
