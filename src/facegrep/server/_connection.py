"""A connection whose request does not get on is closed: uvicorn waits for the rest for ever."""

from __future__ import annotations

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

STALLED_S: Final = 10.0


class TimedConnection(H11Protocol):
    """Closed when nothing, or a part of one request, is all that came in `stalled_s`.

    Twice that for who was answered before, or sends a body. A call that is being carried out has
    the deadline of the app.
    """

    stalled_s: float = STALLED_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen = self.cycle
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._looking = self.loop.call_later(self.stalled_s, self._look)

    def _look(self) -> None:
        # A cycle is made when a head is whole; from then on h11 expects a body, until that is.
        waits = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if waits and self.cycle is self._seen:
            self.transport.close()  # once what was answered is read, or not
            self._looking = self.loop.call_later(self.stalled_s, self.transport.abort)
            return
        self._seen = self.cycle
        self._look_again()
