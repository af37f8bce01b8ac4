"""The shape of the house: imports point down, nothing goes in circles, and heavy packages stay in their rooms.

Every import counts, also one inside a function, under ``TYPE_CHECKING``, or a module's name in a string.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = ("apps", "flows", "tasks", "benchmarks", "warehouse", "lipforcing_core")
MAY_IMPORT = {
    "apps": {"flows", "tasks", "benchmarks", "warehouse", "lipforcing_core"},
    "flows": {"tasks", "benchmarks", "warehouse", "lipforcing_core"},
    "tasks": {"warehouse", "lipforcing_core"},
    "benchmarks": {"tasks", "lipforcing_core"},
    "warehouse": {"lipforcing_core"},
    "lipforcing_core": set(),
}
ONLY_IN = {
    "prefect": {"flows", "tasks"},
    "ray": {"tasks"},
    "duckdb": {"warehouse"},
    "typer": {"apps"},
}
CORE_ROOMS = (  # from the ground up; a room may use those on lower floors, and none beside it
    ("base",),
    ("sound",),
    ("weights", "media"),
    ("faces", "puppets", "models"),
    ("diffusion", "sync", "quality", "fingerprints"),
    ("presets", "metrics"),
    ("checkpoints", "runtime"),
    ("curation", "training", "streaming"),
    ("corpora", "export"),
    ("seams",),
)


def modules() -> dict[str, Path]:
    """All modules of the project by dotted name."""
    found = {}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()
DOTTED = re.compile(rf"\b(?:{'|'.join(LAYERS)})(?:\.\w+)+")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, or names in a string, as modules of the project or top packages of others."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = DOTTED.findall(node.value)
            yield from (word for word in words if word in MODULES)


GRAPH = {
    name: {target for target in imported(path) if target in MODULES} - {name}
    for name, path in MODULES.items()
}


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer: str) -> None:
    upward = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        if name.split(".")[0] == layer
        for target in targets
        if target.split(".")[0] not in MAY_IMPORT[layer] | {layer}
    ]
    assert not upward


@pytest.mark.parametrize("package", sorted(ONLY_IN))
def test_heavy_packages_stay_in_their_layers(package: str) -> None:
    strays = [
        name
        for name, path in MODULES.items()
        if name.split(".")[0] not in ONLY_IN[package]
        and any(target.split(".")[0] == package for target in imported(path))
    ]
    assert not strays


def test_rooms_of_the_core_stand_on_each_other() -> None:
    floor = {room: level for level, rooms in enumerate(CORE_ROOMS) for room in rooms}
    rooms = {
        name.split(".")[1] for name in MODULES if name.count(".") >= 1 and name.startswith("lipforcing_core.")
    }
    assert rooms <= set(floor), f"rooms without a floor: {rooms - set(floor)}"
    upward = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        if name.startswith("lipforcing_core.")
        for target in targets
        if target.startswith("lipforcing_core.")
        and (room := name.split(".")[1]) != (other := target.split(".")[1])
        and floor[other] >= floor[room]
    ]
    assert not upward


def test_no_circle_of_modules() -> None:
    assert list(circles(GRAPH)) == []


def test_no_circle_of_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for name, targets in GRAPH.items():
        if name.count(".") >= 1:
            room = ".".join(name.split(".")[:2])
            others = {".".join(target.split(".")[:2]) for target in targets if target.count(".") >= 1}
            rooms.setdefault(room, set()).update(others - {room})
    core = {r: {t for t in ts if t.startswith("lipforcing_core.")} for r, ts in rooms.items()}
    assert list(circles(core)) == []


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Strongly connected parts of more than one node (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    yield from found


def test_circles_are_found() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == [["a", "b", "c"]]
