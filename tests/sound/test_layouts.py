"""Channels go to the side where FFmpeg says they are, with the weights of ITU-R BS.775."""

from __future__ import annotations

import av
import numpy as np
import pytest

from lipforcing_core.sound.layouts import LAYOUTS, reduction


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_order_of_channels_is_that_of_ffmpeg(name: str) -> None:
    assert [channel.name for channel in av.AudioLayout(name).channels] == LAYOUTS[name].split()


def test_surround_sound_by_the_table_of_the_standard() -> None:
    """Left, right, centre, low frequencies, left and right surround: L0 = L + 0.7071 LS, and the centre by itself."""
    found = reduction(6, "5.1(side)")
    assert found.names == ("left", "right", "centre")
    expected = [[1, 0, 0, 0, 0.7071, 0], [0, 1, 0, 0, 0, 0.7071], [0, 0, 1, 0, 0, 0]]
    np.testing.assert_allclose(found.weights_KC, expected, atol=1e-4)
    seven = reduction(8, "7.1").weights_KC
    np.testing.assert_allclose(seven[0], [1, 0, 0, 0, 0.7071, 0, 0.7071, 0], atol=1e-4)
    np.testing.assert_allclose(seven[1], [0, 1, 0, 0, 0, 0.7071, 0, 0.7071], atol=1e-4)


def test_a_single_surround_channel_counts_as_much_as_a_pair() -> None:
    """BS.775 gives 0.7071 to a mono surround: half of it on either side, since sides count 0.7071 each in mono."""
    weights = reduction(4, "4.0").weights_KC
    np.testing.assert_allclose(weights[:, 3], [0.5, 0.5, 0.0])


def test_a_layout_without_a_centre_is_a_pair() -> None:
    assert reduction(3, "2.1").names == ("left", "right")
    np.testing.assert_array_equal(reduction(3, "2.1").weights_KC, [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("name", ["mono", "", "stereo", "5.1"])
def test_one_channel_is_mono_and_two_are_a_pair(name: str) -> None:
    assert reduction(1, name).names == ("mono",)
    assert reduction(2, name).names == ("left", "right")
    assert reduction(2, name).is_known


@pytest.mark.parametrize("name", ["", "4 channels", "5.1", "ambisonic 1"])
def test_unknown_channels_alternate(name: str) -> None:
    found = reduction(4, name)
    assert not found.is_known
    np.testing.assert_array_equal(found.weights_KC, [[1, 0, 1, 0], [0, 1, 0, 1]])


def test_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="num_channels is 0"):
        reduction(0, "stereo")
