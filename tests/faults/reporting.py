"""How much was tried: a line of JSON for each harness, in the file that ``PEERSTORE_FAULTS_REPORT`` names."""

from __future__ import annotations

import json
import os
from pathlib import Path


def tried(what: str, **counts: object) -> None:
    """Note how much a harness tried, and what came of it."""
    named = os.environ.get("PEERSTORE_FAULTS_REPORT")
    if named:
        with Path(named).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **counts}) + "\n")
