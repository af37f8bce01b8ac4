"""A command that takes arguments and has subcommands as well, such as ``curate SOURCE`` and ``curate explain``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class CommandGroup(TyperGroup):
    """Runs the subcommand that its first word names, and else its own callback, with options in any place.

    A path that is called like a subcommand is written with a folder: ``curate ./explain``.
    """

    allow_extra_args = False
    allow_interspersed_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words of a subcommand alone; all others are those of this command."""
        if args and args[0] in self.commands:
            ctx.args = args
            return args
        return super(TyperGroup, self).parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand, if its words were left alone, or this command."""
        if not ctx.args:
            return super(TyperGroup, self).invoke(ctx)
        name, *words = ctx.args
        command = self.commands[name]
        ctx.invoked_subcommand = name
        with command.make_context(name, words, parent=ctx) as inner:
            return command.invoke(inner)

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of this command; none for the usage line of a subcommand, which takes none of them."""
        return super().get_params(ctx) if ctx.command is self else []

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage of the command alone; its subcommands are listed below it."""
        return super(TyperGroup, self).collect_usage_pieces(ctx)
