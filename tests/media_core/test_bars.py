"""Bars around a picture: what is one, what is none, and what they leave free."""

from __future__ import annotations

import numpy as np
import pytest

from lipforcing_core.media.bars import LEVELS, SAME_COLOUR, Margins, margins, within_bars
from lipforcing_core.media.picture import View

WIDTH, HEIGHT = 128, 96
BARS = {"left": np.s_[:, :20], "top": np.s_[:13], "right": np.s_[:, 121:], "bottom": np.s_[90:]}
FREE = {
    "left": (20, 0, 128, 96),
    "top": (0, 13, 128, 96),
    "right": (0, 0, 121, 96),
    "bottom": (0, 0, 128, 90),
}


def noisy(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def barred(*sides: str, colour: object = 0, seed: int = 0) -> np.ndarray:
    frame = noisy(seed)
    for side in sides:
        frame[BARS[side]] = colour
    return frame


def seen(*pictures: np.ndarray) -> list[Margins]:
    return [margins(View(frame, (0, 0), (1.0, 1.0)), (WIDTH, HEIGHT)) for frame in pictures]


@pytest.mark.parametrize("colour", [0, 16, 255, (0, 40, 200)])
@pytest.mark.parametrize("side", sorted(BARS))
def test_a_bar_of_any_colour_at_any_side(side: str, colour: object) -> None:
    frames = [barred(side, colour=colour, seed=seed) for seed in range(3)]
    assert within_bars(seen(*frames)) == FREE[side]


def test_bars_all_around() -> None:
    assert within_bars(seen(*(barred(*BARS, seed=seed) for seed in range(3)))) == (20, 13, 121, 90)


def test_a_picture_without_bars_has_none() -> None:
    assert within_bars(seen(noisy(0), noisy(1))) is None
    assert within_bars([]) is None


@pytest.mark.parametrize(("noise", "is_one"), [(LEVELS, True), (LEVELS + 1, False)])
def test_the_noise_of_an_encoder_is_allowed_in_a_bar(noise: int, is_one: bool) -> None:
    frame = barred("top", colour=60)
    frame[5, ::7] = 60 + noise
    frame[6, ::7] = 60 - noise
    found = within_bars(seen(frame))
    assert found == ((0, 13, 128, 96) if is_one else (0, 5, 128, 96))


def test_a_band_that_does_not_go_all_across_is_none() -> None:
    frame = barred("bottom")
    frame[90:, 60] = 200
    assert within_bars(seen(frame)) is None


def test_a_band_that_changes_its_colour_is_none() -> None:
    """As a plain wall behind somebody does when the light changes."""
    assert within_bars(seen(barred("top", colour=100), barred("top", colour=100 + SAME_COLOUR))) is not None
    assert within_bars(seen(barred("top", colour=100), barred("top", colour=101 + SAME_COLOUR))) is None


def test_a_bar_that_is_gone_for_one_picture_is_none() -> None:
    assert within_bars(seen(barred("top"), noisy(), barred("top"))) is None


def test_the_least_depth_counts() -> None:
    deeper = barred("top", "bottom", seed=1)
    deeper[:30], deeper[60:] = 0, 0
    assert within_bars(seen(deeper, barred("top", "bottom"))) == (0, 13, 128, 90)


def test_black_pictures_show_no_bars_and_hide_none() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert within_bars(seen(black, black)) is None
    assert within_bars(seen(black, barred("top", "left"))) == (20, 13, 128, 96)


def test_a_part_of_a_picture_has_its_bars_at_its_own_borders() -> None:
    """Where it has none nothing is known of what lies beyond, and the border of the picture counts."""
    view = View(barred("top", "right"), (1000, 500), (1.0, 1.0))
    assert within_bars([margins(view, (1920, 1080))]) == (0, 513, 1121, 1080)
