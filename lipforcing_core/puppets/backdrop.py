"""Seeded studio backgrounds for puppets, and a moving scene without any face."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np


def backdrop(seed: int, size: int) -> np.ndarray:
    """A soft background, uint8 [size, size, 3] RGB: a gradient, out-of-focus blobs, perhaps some panels."""
    rng = np.random.default_rng([seed, 0xBAC])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    direction = rng.uniform(0, 2 * np.pi)
    ramp = (np.cos(direction) * (x - 0.5) + np.sin(direction) * (y - 0.5) + 0.7) / 1.4
    first, second = _colour(rng), _colour(rng)
    picture = first + (second - first) * ramp[..., None]
    for _ in range(int(rng.integers(2, 6))):
        picture = _blend_panel(picture, rng, x)
    for _ in range(int(rng.integers(3, 8))):
        cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 0.9), rng.uniform(0.05, 0.2)
        weight = np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / radius**2)) * np.float32(rng.uniform(0.2, 0.6))
        picture = picture + (_colour(rng) - picture) * weight[..., None]
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), size / 160)
    picture += rng.normal(0, 1.5, size=(size, size, 1)).astype(np.float32)
    image: np.ndarray = np.clip(picture, 0, 255).astype(np.uint8)
    return image


def moving_texture(seed: int, size: int, num_frames: int) -> Iterator[np.ndarray]:
    """Frames of a drifting, slowly swelling backdrop: something moves, nobody is there."""
    rng = np.random.default_rng([seed, 0xDF17])
    tile = backdrop(seed, size)
    drift = rng.uniform(-1.2, 1.2, size=2)
    for index in range(num_frames):
        zoom = 1.25 + 0.1 * np.sin(index / 20)
        matrix = np.array(
            ((zoom, 0, (1 - zoom) * size / 2 + drift[0] * index), (0, zoom, drift[1] * index)), np.float32
        )
        yield cv2.warpAffine(tile, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(40, 215, size=3).astype(np.float32)


def _blend_panel(picture: np.ndarray, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    left, width = rng.uniform(-0.1, 0.9), rng.uniform(0.03, 0.2)
    inside = ((x > left) & (x < left + width)).astype(np.float32) * np.float32(rng.uniform(0.1, 0.35))
    blended: np.ndarray = picture + (_colour(rng) - picture) * inside[..., None]
    return blended
