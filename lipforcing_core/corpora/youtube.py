"""Addresses of YouTube videos, as annotations write them."""

from __future__ import annotations

from urllib.parse import ParseResult, parse_qs, urlparse


def watch_address(video: str) -> str:
    """The address of the video with this id."""
    return f"https://www.youtube.com/watch?v={video}"


def address_parts(address: str) -> ParseResult:
    """The parts of an address; all of them are empty where the text cannot be read as one."""
    try:
        return urlparse(address)
    except ValueError:  # a bracket without its partner, for example
        return urlparse("")


def queried_id(address: str) -> list[str]:
    """The id in an address that ends in ``?v=...``; empty where it has none."""
    return parse_qs(address_parts(address).query).get("v", [])[:1]
