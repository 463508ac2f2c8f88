"""Connections that wait for nobody for ever.

uvicorn closes idle connections, but waits without end for the head of a request, however slow or
long it is. A head has ten seconds and 64 KB here.
"""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
MOST_HEAD_BYTES = 1 << 16
SECONDS_TO_READ = 1.0
"""What a client has to read why it is refused, before the connection is closed."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 with limits for the head of a request."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head.

        Args:
            transport: The connection.
        """
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more.

        Args:
            exc: What ended the connection; None for an end in order.
        """
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of a head that does not end are counted.

        Args:
            data: The bytes.
        """
        if self._is_refused:
            return  # read, so that the system does not throw the answer away with it
        super().data_received(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(431, "Request Header Fields Too Large", "the head is too long")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._head_is_there()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP.

        Args:
            msg: What uvicorn would have said.
        """
        self._refuse(400, "Bad Request", "this is no HTTP request")

    def _expect_head(self) -> None:
        self._head_is_there()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int, title: str, detail: str) -> None:
        """Answer below the application, and close."""
        content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(content).encode()
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._is_refused = True
        self._head_is_there()
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self.loop.call_later(SECONDS_TO_READ, self._close)
