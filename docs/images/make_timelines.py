"""Draw docs/images/timelines.svg: ``python docs/images/make_timelines.py``."""

from __future__ import annotations

from pathlib import Path

STYLE = """
.back{fill:#ffffff;stroke:#d0d7de}.panel{fill:#f6f8fa;stroke:#d0d7de}.ink{fill:#1f2328}.dim{fill:#59636e}
.rule{stroke:#8c959f;fill:none}.full{fill:#0969da;stroke:#0969da}.none{fill:#ffffff;stroke:#0969da}
.late{fill:#bc4c00;stroke:#bc4c00}.latenone{fill:#ffffff;stroke:#bc4c00}.latetext{fill:#bc4c00}
.cut{stroke:#cf222e;fill:none}.cuttext{fill:#cf222e}.dark{stroke:#8c959f;fill:none}.node{fill:#ddf4ff;stroke:#0969da}
.row{fill:#ffffff;stroke:#d0d7de}.key{fill:#8250df;stroke:#8250df}.keytext{fill:#8250df}
@media (prefers-color-scheme:dark){
.back{fill:#0d1117;stroke:#3d444d}.panel{fill:#151b23;stroke:#3d444d}.ink{fill:#f0f6fc}.dim{fill:#9198a1}
.rule{stroke:#656c76}.full{fill:#4493f8;stroke:#4493f8}.none{fill:#0d1117;stroke:#4493f8}
.late{fill:#db6d28;stroke:#db6d28}.latenone{fill:#0d1117;stroke:#db6d28}.latetext{fill:#db6d28}
.cut{stroke:#f85149}.cuttext{fill:#f85149}.dark{stroke:#656c76}.node{fill:#121d2f;stroke:#4493f8}
.row{fill:#0d1117;stroke:#3d444d}.key{fill:#ab7df8;stroke:#ab7df8}.keytext{fill:#ab7df8}
}
text{font-family:-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:13px}
.small{font-size:11.5px}.strong{font-weight:600}
"""

DESCRIPTION = (
    "Three observers record what they see over time. Till 1 is watching all along. The tablet was offline and uploads "
    "its observations a day later. The kitchen falls silent before the moment T. All observations go into one log in "
    "any order. From it the state at T is rebuilt: who was present, who was connected, who saw it; the kitchen's own "
    "view is unknown at T."
)

LEFT, T, RIGHT = 132, 462, 580
TILL, TABLET, KITCHEN = 84, 130, 176

# Where on its line each observation stands, and whether it shows a change.
OBSERVATIONS: dict[int, list[tuple[int, bool]]] = {
    TILL: [(x, x in (140, 236, 380, 452)) for x in range(140, 580, 24)],
    TABLET: [(x, x in (204, 324, 420)) for x in range(204, 560, 24)],
    KITCHEN: [(x, x in (150, 270)) for x in range(150, 360, 24)],
}


def picture() -> str:
    """The whole picture."""
    parts = [*_lanes(), *_store(), *_answer(), *_moment()]
    body = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 432" role="img" aria-labelledby="t d">\n'
        '<title id="t">From observers\' timelines to the state at any moment</title>\n'
        f'<desc id="d">{DESCRIPTION}</desc>\n<style>{STYLE}</style>\n'
        '<rect class="back" x="0.5" y="0.5" width="899" height="431" rx="8"/>\n'
        f"{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, style: str = "ink", anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str = "rule", dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line class="{style}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"{dashed}/>'


def _dot(x: float, y: float, style: str, radius: float = 4) -> str:
    return f'<circle class="{style}" cx="{x}" cy="{y}" r="{radius}" stroke-width="1.5"/>'


def _arrow(points: str, tip: str) -> str:
    return f'<polyline class="rule" points="{points}" stroke-width="1.5"/><polygon class="dim" points="{tip}"/>'


def _lanes() -> list[str]:
    parts = [_text(20, 34, "What each observer sees, on its own clock", "ink strong")]
    for y, who, remark in ((TILL, "till 1", ""), (TABLET, "tablet", "uploads a day later"), (KITCHEN, "kitchen", "")):
        parts.append(_text(20, y + (0 if remark else 4), who))
        if remark:
            parts.append(_text(20, y + 15, remark, "latetext small"))
    parts += [_line(LEFT, TILL, RIGHT, TILL), _line(200, TABLET, 548, TABLET), _line(142, KITCHEN, 380, KITCHEN)]
    parts.append(_line(380, KITCHEN, RIGHT, KITCHEN, "dark", "2 6"))
    parts.append(_text(476, KITCHEN - 9, "silent: unobserved", "dim small"))
    for y, marks in OBSERVATIONS.items():
        full, none = ("late", "latenone") if y == TABLET else ("full", "none")
        parts += [_dot(x, y, full if changed else none) for x, changed in marks]
    parts += [_dot(136, 208, "full"), _text(146, 212, "something changed", "dim small")]
    parts += [_dot(290, 208, "none"), _text(300, 212, "the same again: still true", "dim small")]
    return parts


def _store() -> list[str]:
    parts = ['<rect class="panel" x="20" y="262" width="560" height="150" rx="6"/>']
    parts.append(_arrow("90,222 90,252", "85,248 95,248 90,258"))
    parts.append(_text(104, 245, "record: any order, any number of times, the same history", "dim small"))
    parts.append(_text(36, 288, "The store", "ink strong"))
    for y, what, remark in (
        (304, "observation log", "every observation"),
        (339, "changes", "what differs from the one before"),
        (374, "keyframes", "the whole state, now and then"),
    ):
        parts.append(f'<rect class="row" x="36" y="{y}" width="528" height="28" rx="4"/>')
        parts += [_text(46, y + 18, what), _text(158, y + 18, remark, "dim small")]
    everything = sorted(
        (x, y == TABLET, changed) for y, marks in OBSERVATIONS.items() for x, changed in marks if x <= T + 30
    )
    for place, (_, late, changed) in enumerate(everything[-22:]):
        x = 346 + 10 * place
        parts.append(_dot(x, 318, ("late" if late else "full") if changed else ("latenone" if late else "none"), 3.2))
        if changed:
            parts.append(_dot(x, 353, "late" if late else "full", 3.2))
    parts += [f'<rect class="key" x="{x}" y="383" width="10" height="10" rx="2"/>' for x in (353, 473)]
    return parts


def _answer() -> list[str]:
    parts = ['<rect class="panel" x="620" y="20" width="260" height="392" rx="6"/>']
    parts.append(_arrow("580,336 610,336", "606,331 606,341 616,336"))
    parts.append(_text(636, 46, "The state at T", "ink strong"))
    places = {"till 1": (682, 100), "hub": (760, 146), "tablet": (822, 84), "till 2": (690, 196)}
    links = (("till 1", "hub"), ("till 2", "hub"), ("till 1", "till 2"), ("tablet", "hub"))
    for one, other in links:
        (x1, y1), (x2, y2) = places[one], places[other]
        parts.append(_line(x1, y1, x2, y2, "rule", "5 4" if (one, other) == ("till 1", "till 2") else ""))
    for who, (x, y) in places.items():
        parts += [_dot(x, y, "node", 22), _text(x, y + 4, who, "ink small", "middle")]
    parts += [_line(770, 186, 796, 186), _text(802, 190, "Wi-Fi", "dim small")]
    parts += [_line(770, 204, 796, 204, "rule", "5 4"), _text(802, 208, "Bluetooth", "dim small")]
    parts += [_text(636, 250, "Who says so", "ink strong")]
    for y, who, what, style in (
        (274, "till 1", "watching, spoke 1 s before T", "ink"),
        (296, "tablet", "watching, by its late upload", "latetext"),
        (318, "kitchen", "not watching", "cuttext"),
    ):
        parts += [_text(636, y, who, "ink small"), _text(696, y, what, f"{style} small")]
    parts += [
        _text(636, 352, "What the kitchen sees at T is", "dim small"),
        _text(636, 369, "unknown, which is not nothing.", "dim small"),
        _text(636, 392, "$ peerstore at T", "keytext small strong"),
    ]
    return parts


def _moment() -> list[str]:
    return [_line(T, 56, T, 222, "cut", "4 3"), _text(T, 50, "T", "cuttext strong", "middle")]


if __name__ == "__main__":
    Path(__file__).with_name("timelines.svg").write_text(picture(), encoding="utf-8")
