"""Where results are printed, and the options that come before a command."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from lipforcing_core.base.names import printable
from tasks.workspace import Workspace

console = Console(highlight=False)


@dataclass
class Options:
    """Options that come before the command."""

    workspace: Workspace


def say(words: str, style: str = "") -> None:
    """Print a line that may hold anything, in a style of rich or none."""
    text = escape(printable(words))
    console.print(f"[{style}]{text}[/{style}]" if style else text, soft_wrap=True)


def remark(kind: str, words: str) -> None:
    """Print a line that starts with what kind of remark it is."""
    console.print(f"[yellow]{kind}[/yellow] {escape(printable(words))}", soft_wrap=True)
