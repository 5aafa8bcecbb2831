"""``python -m peerstore`` is ``peerstore``."""

from __future__ import annotations

from peerstore.cli import main

if __name__ == "__main__":
    main(prog_name="peerstore")
