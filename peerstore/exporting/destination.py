"""Where an export goes: a file or a folder that comes to be under its name only when it is whole.

It is written in a folder of its own beside the destination, brought to the disk, and then renamed. Whatever goes wrong
before that leaves nothing under the final name; only whoever exports can read it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerstore.errors import DestinationError, PeerstoreError

_LONGEST_NAME = 255  # of the file systems in use
_OF_A_DATABASE = ("", "-wal", "-shm", "-journal")
MANIFEST = "manifest.json"
"""The manifest within a folder; beside a file it is the file's name and a dot before this."""


def manifest_of(path: Path, *, folder: bool) -> Path:
    """Where the manifest of an export stands."""
    return path / MANIFEST if folder else path.with_name(f"{path.name}.{MANIFEST}")


@contextmanager
def destination(path: Path, *, folder: bool, force: bool = False) -> Iterator[Path]:
    """A file or folder to write to, with the name it will have: under ``path`` once the block ends without an error.

    :class:`~peerstore.errors.DestinationError` if something is there already (unless ``force``; a folder is replaced
    only if it is an export), if the place cannot be written to, or if the disk is full.
    """
    check_free(path, folder=folder, force=force)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{_beginning(path.name)}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise DestinationError(f"{path} cannot be written: {error.strerror}") from error
    try:
        whole = work / path.name
        if folder:
            whole.mkdir(mode=0o700)
        else:
            whole.touch(mode=0o600)
        yield whole
        _bring_to_disk(whole)
        _move(whole, path, work, force=force)
    except PeerstoreError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        raise DestinationError(f"{path} cannot be written: {_reason(error)}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _beginning(name: str) -> str:
    return name.encode(errors="surrogateescape")[:60].decode(errors="ignore")


def check_free(path: Path, *, folder: bool, force: bool) -> None:
    """:class:`~peerstore.errors.DestinationError` if nothing may be put at a path."""
    check_named(path)
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise DestinationError(f"{path.name[:40]}... is too long a name: at most {_LONGEST_NAME} bytes are written")
    if not path.absolute().parent.is_dir():
        raise DestinationError(f"there is no folder {path.absolute().parent} to write {path.name} into")
    if not os.path.lexists(path):
        return
    if not force:
        raise DestinationError(f"{path} is already there: give another name, or --force to replace it")
    if path.is_dir() and not path.is_symlink():
        if not folder or not _is_export(path):
            raise DestinationError(
                f"{path} is a folder that is no export, or has files of others: it is not replaced; give another name"
            )
    elif folder:
        raise DestinationError(f"{path} is a file, and this format is a folder: give another name")
    elif not stat.S_ISREG(path.lstat().st_mode) and not path.is_symlink():
        raise DestinationError(f"{path} is no regular file: it is not replaced; give another name")


def check_named(path: Path) -> None:
    """:class:`~peerstore.errors.DestinationError` if a path has no name of its own."""
    if not path.name or path.name in (".", ".."):
        raise DestinationError(f"{str(path)!r} names no file or folder to write: give a name within it")


def _is_export(folder: Path) -> bool:
    """Whether a folder has a manifest of ours, and nothing that this does not name."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        named = {each["name"] for each in manifest["files"]} if "content_digest" in manifest else set()
    except (OSError, ValueError, TypeError, KeyError):
        return False
    there = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir()}
    return MANIFEST in there and there - {MANIFEST} <= named


def check_apart(path: Path, database: Path | None) -> None:
    """:class:`~peerstore.errors.DestinationError` if a path is that of an SQLite database, or of a file of it."""
    for ending in _OF_A_DATABASE if database is not None else ():
        own = Path(f"{database}{ending}")
        if own.absolute() == path.absolute() or _is_same_file(own, path):
            raise DestinationError(f"{path} is the database itself, or belongs to it: choose another name")


def check_no_log(path: Path) -> None:
    """:class:`~peerstore.errors.DestinationError` if an SQLite file at this path would be read together with a log that
    is there."""
    for ending in ("-wal", "-journal"):
        beside = Path(f"{path}{ending}")
        if os.path.lexists(beside):
            raise DestinationError(
                f"{beside} is there, which SQLite would take for a part of the new file: some program has"
                f" {path} open, or left it behind; choose another name"
            )


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _bring_to_disk(whole: Path) -> None:
    for each in sorted(whole.rglob("*")) if whole.is_dir() else [whole]:
        each.chmod(0o700 if each.is_dir() else 0o600)
        _sync(each)
    _sync(whole)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move(whole: Path, path: Path, work: Path, *, force: bool) -> None:
    if force and path.is_dir() and not path.is_symlink():
        path.rename(work / "replaced")
        whole.rename(path)
    elif force or whole.is_dir():
        whole.rename(path)  # a folder takes no place but an empty folder's
    else:
        _take_free_name(whole, path)
    _sync(path.absolute().parent)


def _take_free_name(whole: Path, path: Path) -> None:
    """Give a file its name, if nobody took that meanwhile."""
    try:
        os.link(whole, path)
    except FileExistsError:
        raise DestinationError(f"{path} came to be meanwhile: give another name, or --force to replace it") from None
    except OSError:  # a file system without hard links
        whole.rename(path)


def _reason(error: OSError | sqlite3.OperationalError) -> str:
    if isinstance(error, sqlite3.OperationalError):
        return "the disk is full" if "full" in str(error) else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)
