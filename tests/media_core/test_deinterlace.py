"""Frames that the filter cannot take pass untouched."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

from av.video.format import VideoFormat

from lipforcing_core.media.deinterlace import Deinterlacer


def test_a_frame_too_small_for_the_filter_passes_untouched() -> None:
    frame = SimpleNamespace(width=2, height=2, format=VideoFormat("yuv420p"), interlaced_frame=True)
    deinterlacer = Deinterlacer(SimpleNamespace(time_base=Fraction(1, 25)))
    assert list(deinterlacer.add(frame)) == [frame]
    assert list(deinterlacer.finish()) == []
