"""Groups of verbs whose modules are imported when a verb is called; their list and summaries are kept beside them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Verb(NamedTuple):
    """Where a verb lives (its module has it as `command`), and its summary in the list of verbs."""

    module: str
    summary: str


class LazyGroup(click.Group):
    """A group that knows its verbs by name alone until one is called."""

    def __init__(self, *args: Any, verbs: Mapping[str, Verb], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs in the order they are read."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The verb, imported now."""
        verb = self._verbs.get(cmd_name)
        if verb is None:
            return None
        found = importlib.import_module(verb.module).command
        assert isinstance(found, click.Command), verb.module
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The list, without importing anything."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in self._verbs.items()])

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but nothing is imported to say which verb was meant."""
        if args and args[0] not in self._verbs and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self._verbs, n=1)
            meant = f' Did you mean "{near[0]}"?' if near else f" There are {', '.join(self._verbs)}."
            ctx.fail(f'There is no verb "{args[0]}".{meant}')
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """What may follow, without importing anything."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=verb.summary) for name, verb in self._verbs.items() if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)
