"""Every ``lipforcing ...`` that the papers of the house and the help show is a command line that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from apps.cli.command_group import CommandGroup
from apps.cli.main import app
from lipforcing_core.weights.registry import find_weight

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/*.md",
        "infra/*.md",
        "examples/*.md",
        "tests/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]*(?:\n[^`\n]+)?)`")
USAGE_ERROR: Any = typer.BadParameter.__base__
LEFT_OUT = re.compile(r"^Missing|requires an argument|is missing", re.IGNORECASE)
OPERATORS = {"|", ">", ">>", "&&", ";", "&", "||"}


def words_of(line: str) -> list[str] | None:
    """The arguments of ``lipforcing`` in a line for a shell; None where it does not call it."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["$"]:
        words = words[1:]
    for place, word in enumerate(words):
        if Path(word).name == "lipforcing":
            rest = words[place + 1 :]
            ends = [index for index, other in enumerate(rest) if other in OPERATORS]
            return rest[: ends[0]] if ends else rest
    return None


def shell_lines(block: str, *, only_prompts: bool) -> Iterator[str]:
    """The lines of a block that are typed; one that a backslash or an open quote ends goes on in the next."""
    pending = ""
    for line in block.splitlines():
        if only_prompts and not pending and not line.startswith("$ "):
            continue
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            pending += "\n"
            continue
        yield pending
        pending = ""


def commands_of(text: str) -> Iterator[tuple[list[str], bool]]:
    """The command lines of a page, and whether each is whole: within a sentence one may leave arguments out."""
    for kind, block in FENCED.findall(text):
        if kind in ("bash", "sh", "console", "text", ""):
            for line in shell_lines(block, only_prompts=kind in ("text", "console", "")):
                words = words_of(line) if "lipforcing" in line else None
                if words is not None:
                    yield words, True
    for code in INLINE.findall(FENCED.sub("", text)):
        if code.startswith("lipforcing "):
            yield words_of(code) or [], False


def parse(words: list[str], *, whole: bool) -> None:
    """Parse as the program does, without running anything; raises a usage error for a mistake."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    while hasattr(command, "commands"):  # a group
        if isinstance(command, CommandGroup) and (not words or words[0] not in command.commands):
            break  # a command that has subcommands as well
        if not words:
            assert not whole, "a group of commands does nothing by itself"
            return
        context = command.make_context(command.name, list(words), parent=context)
        words = [*context._protected_args, *context.args]
        if words:
            _, command, words = command.resolve_command(context, words)
    try:
        command.make_context(command.name, list(words), parent=context)
    except USAGE_ERROR as error:
        if whole or not LEFT_OUT.search(str(error)):
            raise


def shown() -> list[Any]:
    found = [
        pytest.param(words, whole, id=f"{page.relative_to(ROOT)}: {shlex.join(words)[:60]}")
        for page in PAGES
        for words, whole in commands_of(page.read_text(encoding="utf-8"))
    ]
    return found + [
        pytest.param(words_of(line), True, id=f"help: {line[:60]}")
        for epilog in epilogs(typer.main.get_command(app))
        for line in re.findall(r"\[bold\](lipforcing .*?)\[/bold\]", epilog)
    ]


def epilogs(command: Any) -> Iterator[str]:
    """The examples below the help of a command and of all below it."""
    yield (command.epilog or "").replace("\\[", "[")
    for below in getattr(command, "commands", {}).values():
        yield from epilogs(below)


def without_dots(words: list[str]) -> list[str]:
    """Without the dots that stand for arguments left out, and without the wish for help, which ends the parsing."""
    return [word for word in words if word not in ("...", "--help")]


@pytest.mark.parametrize(("words", "whole"), shown())
def test_a_command_line_that_is_shown_is_taken(words: list[str], whole: bool) -> None:
    parse(without_dots(words), whole=whole and not {"...", "--help"} & {*words})


@pytest.mark.parametrize(
    "words", [p.values[0] for p in shown() if p.values[0][:2] == ["weights", "fetch"]], ids=shlex.join
)
def test_weights_that_are_said_to_be_fetched_can_be(words: list[str]) -> None:
    names = [word for word in words[2:] if not word.startswith("-") and word not in ("...", "NAME")]
    for spec in map(find_weight, names):
        assert spec.archive or all(file.url for file in spec.files if file.needed), spec.name


def test_the_pages_are_read() -> None:
    pages = {str(p.relative_to(ROOT)) for p in PAGES}
    assert {
        "README.md",
        "docs/data-teams.md",
        "docs/researchers.md",
        "docs/analysts.md",
        "infra/README.md",
    } <= pages
    assert len(shown()) > 60


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nlipforcing curat ~/talks\n```",
        "```bash\nlipforcing curate\n```",
        "```bash\nlipforcing curate a b c\n```",
        "```bash\nlipforcing curate x --detectr scrfd   # words\n```",
        "```text\n$ lipforcing sql\nmany rows\n```",
        "```bash\nPREFECT_API_URL=x lipforcing \\\n  presets shwo nano | less\n```",
        "Then `lipforcing weights fech scrfd` does it.",
        "Then `lipforcing curate --min-secnds 3 ...` does it.",
    ],
)
def test_a_line_that_the_program_does_not_take_is_found(text: str) -> None:
    ((words, whole),) = commands_of(text)
    with pytest.raises(USAGE_ERROR):
        parse(without_dots(words), whole=whole)
