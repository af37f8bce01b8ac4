"""What happens to pictures on their way to the sync expert: light, blur, noise, coarse pixels, a block codec.

All functions take mouth regions cut from 128-pixel crops, [B, F, 3, 56, 80] float in 0 to 255, and a generator.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from lipforcing_core.sync.experts.nano import MOUTH_HEIGHT, MOUTH_WIDTH

_BLOCK, _TIME = 8, 4
_LUMA = (0.299, 0.587, 0.114)


def augment(mouth_BFCHW: Tensor, generator: torch.Generator) -> Tensor:
    """A random degradation per clip, then the reduction to the network's input [B, F, 3, 40, 48]."""
    clips = [_degrade(clip, generator) for clip in mouth_BFCHW]
    return torch.stack([reduce_mouth(clip) for clip in clips])


def reduce_mouth(mouth_FCHW: Tensor) -> Tensor:
    """Area-averaged to [F, 3, 40, 48], as ``nano.mouth_region`` does."""
    height, width = mouth_FCHW.shape[-2:]
    return _area_weights(height, MOUTH_HEIGHT) @ mouth_FCHW @ _area_weights(width, MOUTH_WIDTH).T


def block_codec(mouth_FCHW: Tensor, num_coefficients: int) -> Tensor:
    """Keep the ``num_coefficients`` lowest cosines of every 4 x 8 x 8 block; most go to brightness, some to colour.

    Stands for the embedded latent codec, whose principal components of such blocks are nearly cosines. As there,
    frame 0 is a block of its own.
    """
    num_frames = len(mouth_FCHW)
    padding = -(num_frames - 1) % _TIME
    head, tail = mouth_FCHW[:1].expand(_TIME, -1, -1, -1), mouth_FCHW[-1:].expand(padding, -1, -1, -1)
    padded = torch.cat([head, mouth_FCHW[1:], tail])
    num_colour = num_coefficients // 5
    luma = torch.einsum("fchw,c->fhw", padded, torch.tensor(_LUMA))
    chroma = padded - luma[:, None]
    coded_luma = _low_pass(luma[:, None], num_coefficients - 2 * num_colour)
    coded = coded_luma + _low_pass(chroma, num_colour)
    return torch.cat([coded[:_TIME].mean(dim=0, keepdim=True), coded[_TIME : _TIME + num_frames - 1]])


def _degrade(mouth_FCHW: Tensor, generator: torch.Generator) -> Tensor:
    def chance(probability: float) -> bool:
        return _uniform(generator, 0, 1) < probability

    if chance(0.4):
        mouth_FCHW = _coarse(mouth_FCHW, _uniform(generator, 0.45, 0.9))
    if chance(0.35):
        mouth_FCHW = _blur(mouth_FCHW, _uniform(generator, 0.4, 1.8))
    if chance(0.5):
        mouth_FCHW = block_codec(mouth_FCHW, int(_uniform(generator, 12, 40)))
    if chance(0.2):
        weight = _uniform(generator, 0.1, 0.35)
        neighbours = torch.cat([mouth_FCHW[:1], mouth_FCHW[:-1]]) + torch.cat(
            [mouth_FCHW[1:], mouth_FCHW[-1:]]
        )
        mouth_FCHW = (1 - weight) * mouth_FCHW + weight / 2 * neighbours
    tint_C11 = 1 + 0.1 * torch.randn(3, 1, 1, generator=generator)
    mouth_FCHW = (mouth_FCHW * tint_C11).clamp(0, 255)
    mouth_FCHW = 255 * (mouth_FCHW / 255) ** _uniform(generator, 0.8, 1.25)
    if chance(0.2):
        mouth_FCHW = mouth_FCHW.flip(-1)
    noise = torch.randn(mouth_FCHW.shape, generator=generator)
    return mouth_FCHW + _uniform(generator, 0, 6) * noise


def _coarse(mouth_FCHW: Tensor, scale: float) -> Tensor:
    """Fewer pixels and back."""
    size = mouth_FCHW.shape[-2:]
    small = functional.interpolate(mouth_FCHW, scale_factor=scale, mode="bilinear", antialias=True)
    return functional.interpolate(small, size=size, mode="bilinear")


def _blur(mouth_FCHW: Tensor, sigma: float) -> Tensor:
    reach = math.ceil(2.5 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = mouth_FCHW.flatten(0, 1)[:, None]
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = functional.conv2d(functional.conv2d(flat, kernel[None, None, None]), kernel[None, None, :, None])
    return flat.view(mouth_FCHW.shape)


def _low_pass(video_FCHW: Tensor, num_coefficients: int) -> Tensor:
    num_frames, num_channels, height, width = video_FCHW.shape
    shape = (num_frames // _TIME, _TIME, num_channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = video_FCHW.view(shape).permute(0, 2, 3, 5, 1, 4, 6).flatten(4)
    basis_KN = _cosines()[:num_coefficients]
    coded = torch.unflatten((blocks @ basis_KN.T) @ basis_KN, 4, (_TIME, _BLOCK, _BLOCK))
    return coded.permute(0, 4, 1, 2, 5, 3, 6).reshape(video_FCHW.shape)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """The orthonormal cosines of a 4 x 8 x 8 block [256, 256], lowest first (time counts double)."""
    time, row = _dct(_TIME), _dct(_BLOCK)
    basis = torch.einsum("at,by,cx->abctyx", time, row, row).reshape(-1, _TIME * _BLOCK * _BLOCK)
    order = [4.0 * a * a + b * b + c * c for a in range(_TIME) for b in range(_BLOCK) for c in range(_BLOCK)]
    return basis[torch.argsort(torch.tensor(order), stable=True)].contiguous()


@lru_cache(maxsize=2)
def _area_weights(size: int, reduced: int) -> Tensor:
    """How much of each pixel lies in each larger one, rows of sum 1: [reduced, size]."""
    ratio = size / reduced
    start, pixel = ratio * torch.arange(reduced)[:, None], torch.arange(size)
    overlap = torch.minimum(start + ratio, pixel + 1.0) - torch.maximum(start, pixel.float())
    return overlap.clamp(min=0) / ratio


def _dct(size: int) -> Tensor:
    order, position = torch.arange(size)[:, None], torch.arange(size)
    rows = math.sqrt(2 / size) * torch.cos(math.pi * order * (2 * position + 1) / (2 * size))
    rows[0] /= math.sqrt(2)
    return rows


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
