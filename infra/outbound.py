"""POSTs to addresses of strangers' choice: each name is resolved once, checked, and pinned.

The connection goes to an address that was checked, never to the name: a name that answers
otherwise a moment later (DNS rebinding) reaches nothing. TLS still proves the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
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
            network_backend=CheckedBackend(policy, resolve or resolved),
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


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``, by the system's resolver; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


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
