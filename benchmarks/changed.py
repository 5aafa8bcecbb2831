"""Two runs beside each other: how each case's ratio to the first of its table changed, and what targets are missed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Ratio(NamedTuple):
    """How many times what the first case took, a case did: of the medians, and in the least and the greatest round."""

    value: float
    least: float
    greatest: float

    @property
    def spread(self) -> float:
        """How far the rounds lie apart."""
        return self.greatest - self.least

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.least:.3g} to {self.greatest:.3g})"


def compare(old: Path, new: Path) -> tuple[str, bool]:
    """A page of Markdown about two reports that ``--json`` wrote, and whether every target that was met still is."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (old, new))
    return compared(before, after)


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, bool]:
    """The same about the reports themselves."""
    lines = ["| | before | after | change | |", "|---|---|---|---|---|"]
    were, are = ratios(before), ratios(after)
    for place, was in were.items():
        name = ": ".join(place)
        if place not in are:
            lines.append(f"| {name} | {was} | | | not measured |")
            continue
        now = are[place]
        change = now.value - was.value
        clear = abs(change) > max(was.spread, now.spread)
        mark = ("**more**" if change > 0 else "**less**") if clear else ""
        lines.append(f"| {name} | {was} | {now} | {now.value / was.value - 1:+.0%} | {mark} |")
    lines += [f"| {': '.join(place)} | | {now} | | new |" for place, now in are.items() if place not in were]
    lines += ["", "| target | before | after | |", "|---|---|---|---|"]
    targets, kept = _targets(before), True
    for place, target in _targets(after).items():
        earlier = targets.get(place)
        value = f"{earlier['value']:.3g}" if earlier else ""
        missed = earlier is not None and earlier["met"] and not target["met"]
        kept = kept and not missed
        told = "**missed, and was met before**" if missed else "met" if target["met"] else "missed"
        lines.append(f"| {': '.join(place)} | {value} | {target['value']:.3g} | {told} |")
    return "\n".join([*lines, ""]), kept


def ratios(report: Mapping[str, Any]) -> dict[tuple[str, str], Ratio]:
    """The ratio of each case by its table and its name; not of the first of each table, which is 1."""
    return {
        (table["title"], name): ratio
        for table in report["tables"]
        if all("seconds" in case for case in table.get("cases", ()))
        for name, ratio in _ratios(table.get("cases", ()))
    }


def _ratios(cases: list[dict[str, Any]]) -> Iterator[tuple[str, Ratio]]:
    for case in cases[1:]:
        # Cases take turns, so that what a round had to bear fell on both of them.
        rounds = [own / first for own, first in zip(case["seconds"], cases[0]["seconds"], strict=False)]
        scale = case["ratio"] / median(rounds)
        yield case["name"], Ratio(case["ratio"], min(rounds) * scale, max(rounds) * scale)


def _targets(report: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (table["title"], target["what"]): target for table in report["tables"] for target in table.get("targets", ())
    }
