"""Coverage-guided fuzzing of one target by Atheris: ``python -m tests.hostile.fuzz TARGET SECONDS``.

Prints how many inputs were tried; an input that breaks a promise is printed by Atheris, and the exit code is not 0.
Atheris is optional (``pip install atheris``), and is there for some versions of Python alone.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path


def main(name: str, seconds: int) -> None:
    """Fuzz a target for so long."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["peerstore", "json"]):
        targets = importlib.import_module("tests.hostile.targets")
    with tempfile.TemporaryDirectory(prefix="peerstore-fuzz-") as folder:
        for number, seed in enumerate(targets.SEEDS[name]):
            Path(folder, str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-max_len=2000", "-timeout=20", "-rss_limit_mb=1500"]
        quiet = ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={tempfile.gettempdir()}/peerstore-{name}-"]
        atheris.Setup([sys.argv[0], *limits, *quiet, folder], targets.TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
