"""SMS by HTTP; an idempotency key makes a repeat safe."""

from __future__ import annotations

import asyncio
import ssl

import httpx2
import orjson

from infra.settings import Settings
from infra.transport import bare_transport
from services.notification import Ambiguous, KeyKnown, NotSent, Refused

TOTAL_SECONDS = 10.0
# Wrong of us, not of the message: our account, our pace, or a moment's trouble.
WORTH_ANOTHER_TRY = frozenset({401, 402, 403, 408, 409, 425, 429})
# How a provider says that a key was used for another message; without it 409 is "still at work".
KEY_REUSED = b"idempotency_key_reused"


class HttpSmsSender:
    def __init__(self, settings: Settings, *, total_seconds: float = TOTAL_SECONDS) -> None:
        self._url = httpx2.URL(settings.sms_url)
        self._total_seconds = total_seconds
        self._extensions = {"timeout": httpx2.Timeout(total_seconds).as_dict()}
        self._transport = bare_transport()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def send(self, to: str, text: str, *, reference: str) -> None:
        """Hand over one SMS; the provider sends each ``reference`` once.

        Raises:
            NotSent: no connection, or an answer that says not now. Refused: a 4xx answer.
            KeyKnown: the reference was sent before, with another text or number.
            Ambiguous: no answer, or one that does not tell.
        """
        request = httpx2.Request(
            "POST",
            self._url,
            headers={"Content-Type": "application/json", "Idempotency-Key": reference},
            content=orjson.dumps({"to": to, "text": text, "reference": reference}),
            extensions=self._extensions,
        )
        try:
            async with asyncio.timeout(self._total_seconds):
                answer = await self._transport.handle_async_request(request)
                try:
                    # To its end, or its connection could serve no other message.
                    told = await answer.aread()
                finally:
                    await answer.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise NotSent(f"no way to the SMS provider: {type(error).__name__}") from error
        # TLS that breaks after the handshake the library lets through as it is.
        except (httpx2.HTTPError, ssl.SSLError, TimeoutError) as error:
            raise Ambiguous(f"no answer from the SMS provider: {type(error).__name__}") from error
        _judge(answer.status_code, told)


def _judge(status: int, body: bytes) -> None:
    told = f"the SMS provider answered {status}"
    if status in (200, 201, 202):
        return
    if status in (409, 422) and KEY_REUSED in body:
        raise KeyKnown(f"{told}, {KEY_REUSED.decode()}")
    if status in WORTH_ANOTHER_TRY or 300 <= status < 400:
        raise NotSent(told)
    if 400 <= status < 500:
        raise Refused(told)
    raise Ambiguous(told)
