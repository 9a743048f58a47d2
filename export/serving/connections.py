"""Connections of `zoo serve`, which end where a client takes too long."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """uvicorn's, whose own deadline is that of an idle connection.

    A client has `seconds` to send the head of a request, from its connecting or its last answer,
    and as many to take an answer. The time between is the application's.
    """

    def __init__(self, *args: Any, seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = seconds
        self._for_head: asyncio.TimerHandle | None = None
        self._for_answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._for_head = self._end_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        _cancel(self._for_head)
        _cancel(self._for_answer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request is here."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._for_head)

    def on_response_complete(self) -> None:
        """A request is answered: the next may come."""
        super().on_response_complete()
        if self.cycle.response_complete:  # or the next request has come with the last
            _cancel(self._for_head)
            self._for_head = self._end_later()

    def pause_writing(self) -> None:
        """The client takes the answer more slowly than it is written."""
        super().pause_writing()
        self._for_answer = self._end_later()

    def resume_writing(self) -> None:
        """The client has taken most of the answer."""
        super().resume_writing()
        _cancel(self._for_answer)

    def _end_later(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
