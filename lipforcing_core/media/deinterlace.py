"""Full frames from interlaced ones, by ffmpeg's ``bwdif``; progressive frames pass untouched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.filter


class Deinterlacer:
    """Hands frames through until one is interlaced, and from there on through the filter, where that takes them.

    The filter keeps the number of frames and their time stamps, and is made anew for every change of form.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._graph: Any = None
        self._form: tuple[Any, ...] = ()

    def add(self, frame: Any) -> Iterator[Any]:
        """The frames that are complete with this one."""
        form = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and form != self._form:
            yield from self.finish()
        if self._graph is None and not frame.interlaced_frame:
            yield frame
            return
        if self._graph is None:
            try:
                self._graph, self._form = self._new_graph(frame), form
            except av.error.FFmpegError:  # of less than three lines or columns, for one
                yield frame
                return
        self._graph.push(frame)
        yield from self._pulled()

    def finish(self) -> Iterator[Any]:
        """The frames that the filter still holds."""
        if self._graph is None:
            return
        self._graph.push(None)
        yield from self._pulled()
        self._graph = None

    def _new_graph(self, frame: Any) -> Any:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self._stream.time_base
        )
        bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = graph.add("buffersink")
        source.link_to(bwdif)
        bwdif.link_to(sink)
        graph.configure()
        return graph

    def _pulled(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
