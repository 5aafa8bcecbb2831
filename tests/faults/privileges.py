"""What needs the machine's leave: mounts need root, injected faults need strace. Left out with a reason where there is
none; in CI, and as root, that is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def needs_strace() -> str:
    """The path of strace; skips the test where it does not work."""
    path = shutil.which("strace")
    done = subprocess.run([path, "-o", os.devnull, "true"], check=False, capture_output=True) if path else None
    if path is None or done is None or done.returncode:
        _leave_out("there is no strace here, or it may not trace")
    return str(path)


def needs_root() -> None:
    """Skip the test where nothing can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")


def _leave_out(reason: str) -> None:
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"in CI, and as root, this must be possible: {reason}")
    pytest.skip(reason)


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """Something mounted at a folder until the block ends."""
    needs_root()
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        _leave_out(f"mount failed: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change how a folder is mounted."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that is quick, since no disk is behind it, where there is such a one."""
    shared = Path("/dev/shm")
    parent = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="peerstore-faults-", dir=parent) as folder:
        yield Path(folder)
