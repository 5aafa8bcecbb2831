"""Write docs/cli.md from what every command says of itself: ``python docs/make_cli.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from peerstore.cli import main

WIDTH = 100

HEAD = """\
# The command line

*Made by `docs/make_cli.py` from the commands' own `--help`: edit those, not this page.*

`peerstore` and `python -m peerstore` are the same program. What each answer means stands in [time.md](time.md); what
can be recorded, in [input.md](input.md).

* **The database** is named by `--db`, before or after the command; else by the environment variable `PEERSTORE_DB`;
  else it is `peerstore.db` in the current folder. It is a path or a SQLAlchemy URL
  (`postgresql+psycopg://user@host/name`). Only `record`, `upgrade` and `demo` make one. A text without `://` is a path,
  unless it looks like a URL written wrongly (`postgresql:/...`, `user:password@...`, `?name=value`, `password=...`),
  which is refused and not repeated; a path of that form is given with `./` before it.
* **Data goes to standard output**, everything else to standard error. A table is for people: it fits the screen, and
  leaves columns out or cuts cells (`…`) where it must. `--json` (one document), `--ndjson` (a line of JSON a row) and
  `--csv` are for programs, and leave out nothing.
* **What strangers wrote** (device names, metadata) is made harmless before it reaches a terminal: control characters
  are shown by their codes. JSON is written in ASCII. A CSV cell that a spreadsheet would take for a formula begins with
  an apostrophe.
* **Exit codes**: 0 done; 1 the answer is no, or something was refused; 2 wrong usage; 3 the database cannot be used;
  130 interrupted; 129 and 143 ended by SIGHUP or SIGTERM; 141 whoever read the output has gone away.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections(main, "peerstore", None, 2)])


def _sections(command: click.Command, path: str, parent: click.Context | None, level: int) -> Iterator[str]:
    name = path.rsplit(" ", 1)[-1]
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings)
    context.max_content_width = WIDTH
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"{'#' * level} `{path}`\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            member = command.get_command(context, each)
            if member is not None:
                yield from _sections(member, f"{path} {each}", context, level if parent is None else level + 1)


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
