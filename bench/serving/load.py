"""Load on a server, in a process of its own: `python -m bench.serving.load < PLAN`.

PLAN is JSON: host, port, requests (a list of path and body), seconds, and either clients (each
sends its next request when it has an answer; with `once` each sends one) or rate (requests a
second, whatever comes back, on at most `most` connections). Prints JSON: answers as rows of
[seconds since the start, latency in seconds, status], and how many requests found no free
connection. Status 0: the connection broke.

Requests are made before the clock starts and answers are looked at only as far as their length, so
that one core sends several thousand a second.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

CONNECT_SECONDS = 10.0
Answer = tuple[float, float, int]


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[int] | None = None
        self._received, self._needed = bytearray(), -1

    def connection_made(self, transport: Any) -> None:
        """The connection stands."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer has come."""
        self._received += data
        if self._needed < 0:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            at = head.find(b"content-length:")
            length = head[at + 15 :].split(b"\r\n", 1)[0] if at >= 0 else b"0"
            self._needed = end + 4 + int(length)
        if len(self._received) >= self._needed:
            self._end(int(self._received[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.transport = None
        self._end(0)

    def _end(self, status: int) -> None:
        self._received, self._needed = bytearray(), -1
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(status)

    async def ask(self, request: bytes) -> int:
        """Send a request and wait for its status; 0 where the connection broke."""
        if self.transport is None or self.transport.is_closing():
            return 0
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered


class Load:
    """The requests of a plan, and what came back."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.host, self.port = plan["host"], plan["port"]
        self.requests = [self._bytes_of(*request) for request in plan["requests"]]
        self.seconds: float = plan["seconds"]
        self.plan = plan
        self.answers: list[Answer] = []
        self.without_connection = 0
        self.connections: list[Connection] = []
        self.begin = 0.0

    def _bytes_of(self, path: str, body: Any) -> bytes:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    async def connect(self) -> Connection | None:
        """A new connection; None where the server takes none."""
        loop = asyncio.get_running_loop()
        try:
            _, connection = await asyncio.wait_for(
                loop.create_connection(Connection, self.host, self.port), CONNECT_SECONDS
            )
        except (OSError, TimeoutError):
            return None
        self.connections.append(connection)
        return connection

    async def ask(self, connection: Connection | None, request: bytes) -> int:
        """Send one request and note its answer."""
        sent = time.perf_counter()
        status = 0 if connection is None else await connection.ask(request)
        now = time.perf_counter()
        self.answers.append((now - self.begin, now - sent, status))
        return status

    async def client(self, number: int) -> None:
        """Ask until the time is over; connect anew where the connection broke."""
        draw = random.Random(number)
        connection = await self.connect()
        if self.plan.get("once"):
            await self.ask(connection, draw.choice(self.requests))
            return
        while time.perf_counter() - self.begin < self.seconds:
            if await self.ask(connection, draw.choice(self.requests)) == 0:
                await asyncio.sleep(0.05)
                connection = await self.connect()

    async def at_rate(self) -> None:
        """Ask so often a second, whatever comes back."""
        draw, free, num_open = random.Random(0), [], 0
        tasks: set[asyncio.Task[None]] = set()

        async def one(request: bytes) -> None:
            nonlocal num_open
            connection = free.pop() if free else None
            if connection is None:
                num_open += 1
                connection = await self.connect()
            if await self.ask(connection, request) and connection is not None:
                free.append(connection)
            else:
                num_open -= 1

        num_sent = 0
        while (now := time.perf_counter() - self.begin) < self.seconds:
            while num_sent < now * self.plan["rate"]:
                num_sent += 1
                if not free and num_open >= self.plan["most"]:
                    self.without_connection += 1
                    continue
                task = asyncio.create_task(one(draw.choice(self.requests)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)

    async def run(self) -> dict[str, Any]:
        """Send everything."""
        self.begin = time.perf_counter()
        if "rate" in self.plan:
            await self.at_rate()
        else:
            await asyncio.gather(*(self.client(i) for i in range(self.plan["clients"])))
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)  # until they are closed
        return {"answers": self.answers, "without_connection": self.without_connection}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Load(json.loads(sys.stdin.read())).run())))
