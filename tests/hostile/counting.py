"""What the attacks tried, for the report: a line of JSON a test, in the file that ``PEERSTORE_FAULTS_REPORT`` names."""

from __future__ import annotations

import json
import os
from pathlib import Path


def report(attack: str, **counts: float | str) -> None:
    """Note what an attack tried, if a report is asked for."""
    named = os.environ.get("PEERSTORE_FAULTS_REPORT")
    if named:
        with Path(named).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"attack": attack, **counts}) + "\n")
