"""The planted faults: each kind is made, nothing else of the text changes, and what is no behaviour is left alone."""

from __future__ import annotations

import pytest

from tests.mutation.operators import mutants


def faults(source: str) -> set[str]:
    return {mutant.label for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("a < b", "a < b -> (a <= b)"),
        ("a == b", "a == b -> (a != b)"),
        ("a - b", "a - b -> (a + b)"),
        ("a and b", "a and b -> (a or b)"),
        ("x = -a", "-a -> a"),
        ("x = 3", "3 -> 4"),
        ("x = 0.5", "0.5 -> 1.0"),
        ("x = True", "True -> False"),
        ("x = f(a, b)", "f(a, b) -> f(b, a)"),
        ("x = f(a, scale=b)", "f(a, scale=b) -> f(a)"),
        ("x = a.detach()", "a.detach() -> a"),
        ("x = a.mean()", "a.mean() -> a.sum()"),
        ("with torch.no_grad():\n    x = a", "torch.no_grad() -> torch.enable_grad()"),
        ("update(a)", "update(a) -> pass"),
        ("if ready:\n    x = a", "ready -> (not ready)"),
        ("total += a", "total += a -> total -= a"),
    ],
)
def test_each_kind_of_fault_is_planted(source: str, label: str) -> None:
    assert label in faults(source)


def test_a_fault_changes_its_own_place_only() -> None:
    source = "def f(a, b):\n    # a comment stays\n    return (a +  b)  # this too\n"
    (fault,) = mutants(source)
    assert fault.source == "def f(a, b):\n    # a comment stays\n    return ((a - b))  # this too\n"
    assert (fault.line, fault.scope) == (3, "f")


def test_places_are_right_behind_letters_of_several_bytes() -> None:
    (fault,) = mutants("x = 'é'; y = a * b\n")
    assert fault.source == "x = 'é'; y = (a / b)\n"


@pytest.mark.parametrize(
    "source",
    [
        '"""Three and 4."""',
        "def f(a: Literal[1, 2]) -> tuple[int, 3]: ...",
        "x: Annotated[int, 5]",
        "@dataclass(frozen=True)\nclass A: ...",
        "def f():\n    raise ValueError(f'{a + 1}')",
        "x = f'{a + 1}'",
        "if TYPE_CHECKING:\n    x = 1",
        "T = TypeVar('T', bound=int)",
    ],
)
def test_what_is_no_behaviour_is_left_alone(source: str) -> None:
    assert faults(source) == set()


def test_the_order_of_a_smallest_and_a_largest_does_not_matter() -> None:
    assert faults("x = max(a, b)") == {"max(a, b) -> min(a, b)"}
    assert faults("x = np.maximum(a, b)") == {"np.maximum(a, b) -> np.minimum(a, b)"}
    assert "a.max(b, c) -> a.max(c, b)" in faults("x = a.max(b, c)")


def test_every_fault_is_valid_python() -> None:
    source = "def f(x, *a, k=1, **o):\n    y = [i ** 2 for i in x if i and k]\n    return g(*a, k=y[1:-1])\n"
    assert len(faults(source)) > 5
    for fault in mutants(source):
        compile(fault.source, "fault", "exec")
