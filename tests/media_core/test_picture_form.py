"""What a frame looks like before it is decoded: when that changes, and which colours are refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.media.picture import reduced, region, to_picture
from lipforcing_core.media.picture_form import PictureForm, refuse_unknown_colours

from .pictures import SQUARE_PIXELS, first_frame, frame_of, patches, textured


def test_a_change_of_form_is_noticed_and_interlacing_is_none(coloured_video: Callable[..., Path]) -> None:
    frame = frame_of(textured(64, 48), "yuv420p")
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert form == PictureForm.of(frame_of(textured(64, 48, 1), "yuv420p"), SQUARE_PIXELS)
    progressive, interlaced = (
        first_frame(coloured_video(**options))[1]
        for options in ({}, {"vf": "setfield=tff", "flags": "+ildct+ilme"})
    )
    assert progressive == interlaced
    assert form != PictureForm.of(frame, SimpleNamespace(sample_aspect_ratio=Fraction(4, 3)))
    assert form != PictureForm.of(frame_of(textured(64, 50), "yuv420p"), SQUARE_PIXELS)
    assert form != PictureForm.of(frame_of(textured(64, 48), "yuv422p"), SQUARE_PIXELS)
    for attribute, code in [("colorspace", 6), ("color_range", 2), ("color_trc", 18), ("color_primaries", 9)]:
        other = frame_of(textured(64, 48), "yuv420p")
        setattr(other, attribute, code)
        assert form != PictureForm.of(other, SQUARE_PIXELS), attribute
    with pytest.raises(BadInputError, match=r"64x50 yuv420p is not of the form 64x48 yuv420p"):
        to_picture(frame_of(textured(64, 50), "yuv420p"), form)
    unknown = PictureForm.of(frame, SimpleNamespace(sample_aspect_ratio=None))
    assert unknown.pixel_aspect == 1


@pytest.mark.parametrize(
    ("attribute", "code", "words"),
    [
        ("color_trc", 8, "transfer characteristic linear"),
        ("color_trc", 9, "transfer characteristic log100"),
        ("color_trc", 10, "transfer characteristic log316"),
        ("color_trc", 17, "transfer characteristic smpte428"),
        ("color_trc", 256, "transfer characteristic number 256"),
        ("colorspace", 8, "colour matrix ycgco"),
        ("colorspace", 14, "colour matrix ictcp"),
        ("colorspace", 10, "colour matrix bt2020c"),
        ("color_primaries", 10, "colour primaries smpte428"),
        ("color_primaries", 99, "colour primaries number 99"),
    ],
)
def test_colours_that_cannot_be_converted_are_refused_by_name(attribute: str, code: int, words: str) -> None:
    frame = frame_of(textured(64, 48), "yuv420p")
    setattr(frame, attribute, code)
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert form.tone_mapped is None
    with pytest.raises(MediaError, match=f"talk.mp4: declares the {words}, which"):
        refuse_unknown_colours(form, "talk.mp4")
    for work in (
        lambda: to_picture(frame, form),
        lambda: region(frame, form, (0, 0, 9, 9)),
        lambda: reduced(frame, form, 9),
    ):
        with pytest.raises(BadInputError, match=words):
            work()


class StubFrame(SimpleNamespace):
    """A frame with the facts of a real one, and side data that no encoder at hand can write."""

    @classmethod
    def of(cls, frame: Any, **facts: Any) -> StubFrame:
        names = ("width", "height", "format", "colorspace", "color_range", "color_trc", "color_primaries")
        kept = {name: getattr(frame, name) for name in names}
        return cls(**{**kept, **facts})


@pytest.mark.parametrize(("transfer", "word"), [(2, "dolby-vision"), (16, None), (18, None)])
def test_dolby_vision_is_refused_where_its_base_layer_has_no_colours_of_its_own(
    transfer: int, word: str | None
) -> None:
    kind = SimpleNamespace(type=SimpleNamespace(name="DOVI_METADATA"))
    frame = frame_of(textured(64, 48), "yuv420p10le")
    form = PictureForm.of(
        StubFrame.of(frame, side_data=[kind], rotation=0, color_trc=transfer), SQUARE_PIXELS
    )
    assert (form.problem is None) == (word is None)
    assert word is None or f"transfer characteristic {word}," in str(form.problem)


def test_side_data_of_a_kind_unknown_to_pyav_leave_the_turn() -> None:
    class Newer(StubFrame):
        @property
        def side_data(self) -> list[Any]:
            raise ValueError("34 is not a valid Type")

    form = PictureForm.of(Newer.of(frame_of(textured(64, 48), "yuv420p"), rotation=-90), SQUARE_PIXELS)
    assert (form.quarter_turns, form.mirrored, form.size) == (3, False, (48, 64))


def test_reserved_tags_are_read_as_undeclared() -> None:
    frame = patches(np.array([(200, 100, 50)]), 2, False, 8, "yuv420p")
    expected = to_picture(frame, PictureForm.of(frame, SQUARE_PIXELS))
    frame.colorspace = frame.color_trc = frame.color_primaries = 3
    form = PictureForm.of(frame, SQUARE_PIXELS)
    assert (form.matrix, form.transfer, form.primaries, form.problem) == (*["unspecified"] * 3, None)
    refuse_unknown_colours(form, "talk.mp4")
    assert np.array_equal(to_picture(frame, form), expected)
    assert int(frame.colorspace) == 3
