"""The manual of the command line, from the program itself: `python -m monitor.cli.manual > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from monitor.cli import exits, jaga

WIDTH = 100

_HEAD = """\
# Command line

Written from the program by `python -m monitor.cli.manual > docs/cli.md`; what `jaga VERB --help` says, for every verb.
"""


def manual() -> str:
    """All verbs with their help, as Markdown."""
    top = click.Context(jaga, info_name="jaga", terminal_width=WIDTH, **jaga.context_settings)
    return "\n".join([_HEAD, *(_section(context) for context in _walk(top))])


def _section(context: click.Context) -> str:
    path = context.command_path
    return f"{'#' * min(2 + path.count(' '), 4)} `{path}`\n\n```\n{context.get_help().rstrip()}\n```\n"


def _walk(context: click.Context) -> Iterator[click.Context]:
    """The command and all below it, in the order of the lists."""
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None, name
            yield from _walk(click.Context(found, info_name=name, parent=context, **found.context_settings))


if __name__ == "__main__":
    sys.exit(exits.code_of(lambda: click.echo(manual(), nl=False)))
