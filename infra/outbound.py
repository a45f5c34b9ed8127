"""POSTs to addresses of strangers' choice: each name is resolved once, checked, and pinned.

The connection goes to an address that was checked, never to the name: a name that answers
otherwise a moment later (DNS rebinding) reaches nothing. TLS still proves the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import httpcore2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from domain.outbound import OutboundPolicy, checked_addresses, target_of

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
# What a receiver says is its business; it is read only so far as to use its connection again.
MAX_ANSWER_BYTES = 16 * 1024
MAX_CONNECTIONS = 100
# Of the addresses that a name has, so many are tried: the connection has only so much time.
MAX_ADDRESSES = 3
# Names at a moment, each with a thread that may hang as long as its server likes.
MAX_LOOKUPS = 256

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """``retry_after`` is in seconds, if the receiver asked for a pause in that form."""

    status: int
    retry_after: float | None = None


class Unanswered(Exception):
    """There was no answer; ``str`` of it says what there was, without anything secret."""


class Outbound:
    """Sends under one policy. No redirect is followed, no proxy of the environment is used."""

    def __init__(
        self,
        policy: OutboundPolicy,
        *,
        resolve: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._policy = policy
        self._total_seconds = total_seconds
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or ssl.create_default_context(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS // 5,
            keepalive_expiry=30.0,
            network_backend=CheckedBackend(policy, resolve or Resolver()),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The status that came within the total time.

        Raises:
            Unanswered: none did.
            Invalid: ``invalid_url`` or ``forbidden_address``: we do not send there.
        """
        target = target_of(url, self._policy)
        sent: dict[bytes | str, bytes | str] = {
            "Host": target.authority,
            "Content-Length": str(len(body)),
            "Accept-Encoding": "identity",
        }
        sent.update(headers.items())
        request = httpcore2.Request(
            "POST",
            httpcore2.URL(
                scheme=target.scheme, host=target.host, port=target.port, target=target.path
            ),
            headers=sent,
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS, "pool": self._total_seconds}},
        )
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(request)
        except TimeoutError:
            raise Unanswered(f"no answer within {self._total_seconds:g} s") from None
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
            # After the handshake the library lets it through as it is.
            ssl.SSLError,
        ) as error:
            raise Unanswered(_told(error)) from error

    async def _exchange(self, request: httpcore2.Request) -> Answer:
        answer = await self._pool.handle_async_request(request)
        try:
            read = 0
            async for chunk in answer.aiter_stream():
                read += len(chunk)
                if read > MAX_ANSWER_BYTES:
                    break
        finally:
            await answer.aclose()
        return Answer(answer.status, _retry_after(answer.headers))


class CheckedBackend(AsyncNetworkBackend):
    """Connects only to addresses that the policy lets it reach."""

    def __init__(self, policy: OutboundPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        try:
            found = await asyncio.wait_for(self._resolve(host, port), timeout)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name was not resolved in time") from error
        except OSError as error:
            raise httpcore2.ConnectError("the name cannot be resolved") from error
        addresses = checked_addresses(found, self._policy)
        refused: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await self._sockets.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                refused = error
        assert refused is not None, "there is at least one address"
        raise refused


def addresses_of(host: str, port: int) -> list[str]:
    """By the system's resolver, however long that takes; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """A name is looked up in a thread of its own, one for all who ask for it at a moment.

    The loop's threads are few and shared by all: a handful of names whose servers do not answer
    would keep every other waiting. These end with the process, whatever they wait for.
    """

    def __init__(
        self, look_up: Callable[[str, int], list[str]] = addresses_of, *, most: int = MAX_LOOKUPS
    ) -> None:
        self._look_up = look_up
        self._most = most
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Raises OSError."""
        asked = self._under_way.get((host, port))
        if asked is None:
            if len(self._under_way) >= self._most:
                raise OSError("too many names are being looked up")
            asked = self._begin(host, port)
        return await asyncio.shield(asked)

    def _begin(self, host: str, port: int) -> asyncio.Future[list[str]]:
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[list[str]] = loop.create_future()
        self._under_way[host, port] = asked

        def answer(found: list[str] | OSError) -> None:
            del self._under_way[host, port]
            if isinstance(found, OSError):
                asked.set_exception(found)
                asked.exception()  # those who asked may have given up long ago
            else:
                asked.set_result(found)

        def work() -> None:
            found: list[str] | OSError = OSError("the lookup broke")
            try:
                found = self._look_up(host, port)
            except OSError as error:
                found = error
            except UnicodeError as error:  # a label that is too long
                found = OSError(str(error))
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is over
                    loop.call_soon_threadsafe(answer, found)

        threading.Thread(target=work, name="resolver", daemon=True).start()
        return asked


def _told(error: Exception) -> str:
    """A word for people: the library's own sentences may quote what a receiver sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({getattr(cause, 'verify_message', None) or cause.reason})"
        cause = cause.__cause__ or cause.__context__
    return f"no answer ({type(error).__name__})"


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 8:
            return float(value)
    return None
