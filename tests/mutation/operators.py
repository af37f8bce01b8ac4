"""Single faults of the kinds that people make, as edits of a source text.

Every edit replaces one expression or statement and leaves all other bytes alone, so a mutant can be read as a diff.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One planted fault: the line (from 1), the name of the function or class around it, before and after."""

    line: int
    scope: str
    before: str
    after: str
    source: str

    @property
    def label(self) -> str:
        """What was changed, in one line; with the scope it names the fault also when lines move."""
        return f"{' '.join(self.before.split())} -> {' '.join(self.after.split())}"


COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
LIKE_NAMES = {
    "min": "max", "max": "min", "mean": "sum", "sum": "mean", "floor": "ceil", "ceil": "floor", "any": "all",
    "all": "any", "minimum": "maximum", "maximum": "minimum", "zeros_like": "ones_like", "ones_like": "zeros_like",
    "square": "abs", "sorted": "list",
}  # fmt: skip
DROPPED_METHODS = {"detach", "float", "contiguous", "clone", "resolve"}
SWAP_CRASHES = {"isinstance", "getattr", "setattr", "range", "cast"}  # seldom what a person gets wrong
SYMMETRIC = {"min", "max", "minimum", "maximum"}  # of two values; a swap changes nothing
TYPING_CALLS = {"TypeVar", "cast"}
GRADIENT_CONTEXTS = {"no_grad", "inference_mode"}


def mutants(source: str) -> Iterator[Mutant]:
    """All single faults of a module, from top to bottom."""
    tree = ast.parse(source)
    _mark_parents(tree)
    offsets = _line_offsets(source)
    for node in ast.walk(tree):
        if not hasattr(node, "lineno") or _is_left_alone(node):
            continue
        for replacement in _faults(node):
            yield _edit(source, offsets, node, replacement)


def _faults(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _changed(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_text(node):
        yield _changed(node, op=ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(
        node.test, ast.Compare | ast.UnaryOp
    ):
        test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield _changed(node, test=test) if isinstance(node, ast.IfExp) else _Head(node.test, test)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        yield _changed(node, op=ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()


def _other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 2 if value else 1.0)


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in LIKE_NAMES:
        other = LIKE_NAMES[name]
        if isinstance(node.func, ast.Attribute):
            yield _changed(node, func=_changed(node.func, attr=other))
        elif (name, other) not in {("sum", "mean")}:
            yield _changed(node, func=ast.Name(other))
    if name in DROPPED_METHODS and isinstance(node.func, ast.Attribute) and not node.args:
        yield node.func.value
    if name in GRADIENT_CONTEXTS and isinstance(node.func, ast.Attribute):
        yield _changed(node, func=_changed(node.func, attr="enable_grad"))
    plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
    if (
        name not in SWAP_CRASHES
        and not (name in SYMMETRIC and len(plain) == 2 and not _is_reduction(node))
        and len(plain) == len(node.args) >= 2
        and ast.dump(node.args[0]) != ast.dump(node.args[1])
    ):
        yield _changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield _changed(node, keywords=[k for i, k in enumerate(node.keywords) if i != index])


def _is_reduction(node: ast.Call) -> bool:
    """Whether ``x.max(1, True)`` is meant, a method whose arguments have an order, and not ``max(a, b)``."""
    return isinstance(node.func, ast.Attribute) and node.func.attr in {"min", "max"}


@dataclass
class _Head(ast.AST):
    """The condition of a statement instead of the whole statement, whose body stays as it is."""

    old: ast.expr
    new: ast.expr


def _edit(source: str, offsets: list[int], node: ast.AST, replacement: ast.AST) -> Mutant:
    if isinstance(replacement, _Head):
        node, replacement = replacement.old, replacement.new
    assert isinstance(node, ast.expr | ast.stmt)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    data = source.encode()
    start = offsets[node.lineno - 1] + node.col_offset
    stop = offsets[node.end_lineno - 1] + node.end_col_offset
    after = ast.unparse(ast.fix_missing_locations(replacement))
    if isinstance(replacement, ast.expr):
        after = f"({after})" if not isinstance(replacement, ast.Constant | ast.Name | ast.Call) else after
    return Mutant(
        line=node.lineno,
        scope=_scope(node),
        before=data[start:stop].decode(),
        after=after,
        source=(data[:start] + after.encode() + data[stop:]).decode(),
    )


def _is_left_alone(node: ast.AST) -> bool:
    """Whether a change there could not be a fault of behaviour: types, docstrings, messages, decorators of classes."""
    child = node
    if isinstance(node, ast.Call) and _callee(node) in TYPING_CALLS:
        return True
    if "TYPE_CHECKING" in ast.dump(getattr(node, "test", ast.Pass())):
        return True
    while (parent := getattr(child, "parent", None)) is not None:
        if isinstance(parent, ast.AnnAssign | ast.arg) and child is parent.annotation:
            return True
        if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and child is parent.returns:
            return True
        if isinstance(parent, ast.ClassDef) and child in (
            *parent.decorator_list,
            *parent.bases,
            *parent.keywords,
        ):
            return True
        if isinstance(parent, ast.Raise | ast.Assert | ast.JoinedStr | ast.FormattedValue | ast.Import):
            return True
        if isinstance(parent, ast.If) and "TYPE_CHECKING" in ast.dump(parent.test):
            return True
        if isinstance(parent, ast.Call) and _callee(parent) in TYPING_CALLS | {"Field", "field"}:
            return True
        child = parent
    return False


def _callee(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_text(node: ast.BinOp) -> bool:
    """Whether an operand is a string literal: such sums are sentences, not arithmetic."""
    sides = (node.left, node.right)
    return any(isinstance(s, ast.JoinedStr) or isinstance(getattr(s, "value", None), str) for s in sides)


def _scope(node: ast.AST) -> str:
    names: list[str] = []
    child: ast.AST | None = node
    while child is not None:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(child.name)
        child = getattr(child, "parent", None)
    return ".".join(reversed(names)) or "module"


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    twin = copy.copy(node)
    for name, value in fields.items():
        setattr(twin, name, value)
    return twin


def _mark_parents(tree: ast.AST) -> None:
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            child.parent = parent  # type: ignore[attr-defined]


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.encode().splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets
