"""Connections to the page, of which those that ask for nothing are closed."""

from asyncio import BaseTransport, TimerHandle
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD = 10.0  # seconds for the head of a request


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # the class depends on what is installed
    """A connection that ends if the head of a request is not there in time: the server serves only so many at once."""

    waiting: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._wait(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.waiting:
            self.waiting.cancel()

    def _wait(self, done: Any) -> None:
        """Look again after a while. `done` is the last request if it was answered already at the last look."""
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.waiting and self.cycle is done:
            self.transport.close()
        else:
            self.waiting = self.loop.call_later(HEAD, self._wait, self.cycle if answered else self)
