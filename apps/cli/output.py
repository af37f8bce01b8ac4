"""Where results are printed, and the options that come before a command."""

from __future__ import annotations

from dataclasses import dataclass

from rich import markup
from rich.console import Console

from lipforcing_core.base.names import printable
from tasks.workspace import Workspace

console = Console(highlight=False)


@dataclass
class Options:
    """Options that come before the command."""

    workspace: Workspace


def escape(words: str) -> str:
    """Text as the console shall show it: no markup of rich, and nothing that a terminal would act on."""
    return markup.escape(printable(words))


def say(words: str, style: str = "") -> None:
    """Print a line that may hold anything, in a style of rich or none."""
    text = escape(words)
    console.print(f"[{style}]{text}[/{style}]" if style else text, soft_wrap=True)


def remark(kind: str, words: str) -> None:
    """Print a line that starts with what kind of remark it is."""
    console.print(f"[yellow]{kind}[/yellow] {escape(words)}", soft_wrap=True)
