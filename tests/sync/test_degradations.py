"""The single degradations against closed forms, and how often and how strongly they are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.fft import idctn
from torch import Tensor

from lipforcing_core.sync import augment as module
from lipforcing_core.sync.augment import augment, block_codec, reduce_mouth


@pytest.fixture(autouse=True)
def _fresh_tables() -> None:
    """Every test makes its own tables, so that none passes on what another one computed."""
    module._cosines.cache_clear()
    module._area_weights.cache_clear()


def noise(num_frames: int, seed: int = 0) -> Tensor:
    return 255 * torch.rand(num_frames, 3, 56, 80, generator=torch.Generator().manual_seed(seed))


def lowest_cosines() -> list[tuple[int, int, int]]:
    """Orders in time, row and column of a 4 x 8 x 8 block, the lowest first; a step in time counts double."""
    orders = [(t, y, x) for t in range(4) for y in range(8) for x in range(8)]
    return sorted(orders, key=lambda order: 4 * order[0] ** 2 + order[1] ** 2 + order[2] ** 2)


def cosine(order: tuple[int, int, int]) -> np.ndarray:
    """One orthonormal cosine of a block, [4, 8, 8]."""
    coefficients = np.zeros((4, 8, 8))
    coefficients[order] = 1
    return idctn(coefficients, norm="ortho")


def test_the_basis_is_the_discrete_cosine_transform_ordered_by_frequency() -> None:
    basis = module._cosines()
    assert basis.shape == (256, 256)
    want = np.stack([cosine(order).ravel() for order in lowest_cosines()])
    np.testing.assert_allclose(basis, want, atol=1e-6)


def test_a_larger_pixel_is_the_area_weighted_mean_of_those_under_it() -> None:
    np.testing.assert_allclose(
        module._area_weights(5, 2), np.array([[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]]) / 5, atol=1e-6
    )
    np.testing.assert_allclose(
        module._area_weights(4, 3), np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]) / 4, atol=1e-6
    )


def test_a_mouth_is_reduced_to_40_by_48() -> None:
    rows, columns = torch.arange(56.0)[:, None], torch.arange(80.0)
    ramp = (3 * rows + 2 * columns).expand(2, 3, 56, 80)
    # The middle of the larger pixel k lies at 1.4 k + 0.2 of the rows and at k / 0.6 + 1 / 3 of the columns.
    want = 3 * (1.4 * torch.arange(40)[:, None] + 0.2) + 2 * (torch.arange(48) / 0.6 + 1 / 3)
    inner = reduce_mouth(ramp)[:, :, 1:-1, 1:-1]
    assert reduce_mouth(ramp).shape == (2, 3, 40, 48)
    np.testing.assert_allclose(inner, want[1:-1, 1:-1].expand(2, 3, 38, 46), atol=0.6)
    assert float(reduce_mouth(ramp).mean()) == pytest.approx(float(ramp.mean()), abs=1e-3)


def waves(order: tuple[int, int, int], colour: tuple[float, float, float]) -> Tensor:
    """Five frames; in the last four every block holds one cosine, in one colour."""
    block = np.tile(cosine(order), (1, 7, 10))
    later = 100 * block[:, None] * np.array(colour)[:, None, None]
    return torch.from_numpy(np.concatenate([np.zeros((1, 3, 56, 80)), later])).float()


GREY, REDDISH = (1.0, 1.0, 1.0), (0.587, -0.299, 0.0)  # the second has no brightness: 0.299 r + 0.587 g = 0


@pytest.mark.parametrize(
    ("num_coefficients", "num_grey", "num_colour"), [(16, 10, 3), (14, 10, 2), (40, 24, 8)]
)
def test_a_fifth_of_the_numbers_goes_to_each_colour_and_the_rest_to_brightness(
    num_coefficients: int, num_grey: int, num_colour: int
) -> None:
    orders = lowest_cosines()
    for colour, kept in ((GREY, num_grey), (REDDISH, num_colour)):
        for number, order in enumerate(orders[: num_grey + 2]):
            video = waves(order, colour)
            want = video if number < kept else torch.zeros_like(video)
            np.testing.assert_allclose(block_codec(video, num_coefficients), want, atol=0.02)


def test_all_numbers_of_a_block_give_brightness_back_beside_a_flat_colour() -> None:
    """Brightness is Rec. 601 luma: with other weights the noise would leak into the colours, which lose it."""
    grey = noise(9).mean(dim=1, keepdim=True)
    tint = torch.tensor([20.0, -10.0, 5.0])[:, None, None]
    np.testing.assert_allclose(block_codec(grey + tint, 426), grey + tint, atol=1e-2)


@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 8])
def test_a_clip_that_fills_no_block_is_coded_as_if_its_last_frame_stood(num_frames: int) -> None:
    video = noise(num_frames)
    longer = torch.cat([video, video[-1:].expand(9 - num_frames, -1, -1, -1)])
    coded = block_codec(video, 30)
    assert coded.shape == video.shape
    np.testing.assert_allclose(coded, block_codec(longer, 30)[:num_frames], atol=1e-3)


@pytest.mark.parametrize(("sigma", "reach"), [(0.4, 1), (1.0, 3), (1.8, 5)])
def test_a_blurred_point_is_a_gaussian_that_ends_after_two_and_a_half_deviations(
    sigma: float, reach: int
) -> None:
    video = torch.zeros(2, 3, 21, 25)
    video[1, 2, 9, 12] = 1
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    want = np.zeros((2, 3, 21, 25))
    want[1, 2, 9 - reach : 10 + reach, 12 - reach : 13 + reach] = np.outer(taps, taps)
    np.testing.assert_allclose(module._blur(video, sigma), want, atol=1e-6)


def test_a_blur_repeats_the_border() -> None:
    columns = torch.zeros(1, 3, 12, 16)
    columns[..., 0] = 100
    blurred = module._blur(columns, 1.0)
    taps = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    taps /= taps.sum()
    np.testing.assert_allclose(blurred[0, 0, :, 0], 100 * taps[3:].sum(), rtol=1e-5)
    np.testing.assert_allclose(blurred[0, 0, 0], blurred[0, 0, 6])
    flat = torch.full((1, 3, 12, 16), 100.0)
    np.testing.assert_allclose(module._blur(flat, 1.8), flat, rtol=1e-5)


def test_fewer_pixels_keep_a_ramp_and_lose_a_checkerboard() -> None:
    rows, columns = torch.arange(56.0)[:, None], torch.arange(80.0)
    ramp = (2 * rows + 3 * columns).expand(2, 3, 56, 80)
    coarse = module._coarse(ramp, 0.5)
    assert coarse.shape == ramp.shape
    np.testing.assert_allclose(coarse[..., 4:-4, 4:-4], ramp[..., 4:-4, 4:-4], atol=0.01)
    board = (255.0 * ((rows + columns) % 2)).expand(2, 3, 56, 80)
    assert module._coarse(board, 0.6).std() < 20
    assert module._coarse(board, 0.9).std() > 2 * module._coarse(board, 0.6).std()


def test_uniform_numbers_fill_their_range() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [module._uniform(generator, 2.0, 5.0) for _ in range(500)]
    assert 2.0 <= min(drawn) < 2.05
    assert 4.95 < max(drawn) <= 5.0
    assert np.mean(drawn) == pytest.approx(3.5, abs=0.15)


class Drawn:
    """Stands for the uniform numbers of ``_degrade``; keeps the ranges that were asked for.

    chances: what the five decisions draw. strengths: what the degradations that happen draw, then gamma and noise.
    """

    def __init__(self, chances: list[float], strengths: list[float]) -> None:
        self._chances, self._strengths = iter(chances), iter(strengths)
        self.ranges: list[tuple[float, float]] = []

    def __call__(self, generator: torch.Generator, low: float, high: float) -> float:
        if (low, high) == (0, 1):
            return next(self._chances)
        self.ranges.append((low, high))
        return next(self._strengths)

    def assert_used_up(self) -> None:
        assert next(self._chances, None) is None
        assert next(self._strengths, None) is None


PROBABILITIES = {"coarse": 0.4, "blur": 0.35, "codec": 0.5, "neighbours": 0.2, "mirror": 0.2}
STRENGTHS = {
    "coarse": ((0.45, 0.9), 0.6),
    "blur": ((0.4, 1.8), 1.1),
    "codec": ((12, 40), 20.9),
    "neighbours": ((0.1, 0.35), 0.25),
}
GAMMA_RANGE, NOISE_RANGE = (0.8, 1.25), (0, 6)


def degraded(
    monkeypatch: pytest.MonkeyPatch,
    clip: Tensor,
    happens: str,
    *,
    missed: bool = False,
    gamma: float = 1.0,
    noise_level: float = 0.0,
) -> Tensor:
    """A clip of which only one degradation takes hold; ``missed``: not even that, by as little as can be."""
    chances = [p - 1e-6 if name == happens and not missed else p for name, p in PROBABILITIES.items()]
    takes_hold = happens in STRENGTHS and not missed
    strengths = [STRENGTHS[happens][1]] if takes_hold else []
    drawn = Drawn(chances, [*strengths, gamma, noise_level])
    with monkeypatch.context() as patch:
        patch.setattr(module, "_uniform", drawn)
        result = module._degrade(clip, torch.Generator().manual_seed(5))
    drawn.assert_used_up()
    assert drawn.ranges == [*([STRENGTHS[happens][0]] if takes_hold else []), GAMMA_RANGE, NOISE_RANGE]
    return result


def normals() -> Iterator[Tensor]:
    """The tint of the three colours and the noise that a generator of seed 5 gives, in the order of drawing."""
    generator = torch.Generator().manual_seed(5)
    yield torch.randn(3, 1, 1, generator=generator)
    yield torch.randn((6, 3, 56, 80), generator=generator)


def tinted(clip: Tensor) -> Tensor:
    """Light of another colour, with a deviation of a tenth, within the 256 levels."""
    return torch.clamp((1 + 0.1 * next(normals())) * clip, 0, 255)


def with_neighbours(clip: Tensor, weight: float) -> Tensor:
    """Every frame with a share of the frames beside it, as a slow shutter sees it."""
    rows = []
    for index in range(len(clip)):
        before, after = clip[max(0, index - 1)], clip[min(len(clip) - 1, index + 1)]
        rows.append((1 - weight) * clip[index] + weight * (before + after) / 2)
    return torch.stack(rows)


@pytest.mark.parametrize("name", list(PROBABILITIES))
def test_each_degradation_has_its_chance_and_its_strength(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise(6)
    want = {
        "coarse": lambda: tinted(module._coarse(clip, 0.6)),
        "blur": lambda: tinted(module._blur(clip, 1.1)),
        "codec": lambda: tinted(block_codec(clip, 20)),
        "neighbours": lambda: tinted(with_neighbours(clip, 0.25)),
        "mirror": lambda: tinted(clip)[..., range(79, -1, -1)],
    }[name]()
    np.testing.assert_allclose(degraded(monkeypatch, clip, name), want, atol=1e-3)
    np.testing.assert_allclose(degraded(monkeypatch, clip, name, missed=True), tinted(clip), atol=1e-3)


def test_light_contrast_and_noise_always_change(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise(6)
    brighter = degraded(monkeypatch, clip, "nothing", gamma=0.8)
    np.testing.assert_allclose(brighter, 255 * (tinted(clip) / 255) ** 0.8, atol=1e-3)
    glaring = degraded(monkeypatch, 3 * clip, "nothing")
    np.testing.assert_allclose(glaring, tinted(3 * clip), atol=1e-3)
    assert float(glaring.max()) == pytest.approx(255.0)
    noisy = degraded(monkeypatch, clip, "nothing", noise_level=3.0)
    *_, grain = normals()
    np.testing.assert_allclose(noisy, tinted(clip) + 3 * grain, atol=1e-3)


def test_a_batch_is_degraded_clip_by_clip_and_reduced() -> None:
    clips = torch.stack([noise(6, seed) for seed in range(3)])
    generator, again = (torch.Generator().manual_seed(2) for _ in range(2))
    one_by_one = [reduce_mouth(module._degrade(clip, again)) for clip in clips]
    np.testing.assert_array_equal(augment(clips, generator), torch.stack(one_by_one))
