"""The HTTP side of the sink: take SMS, set faults, list what came."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from seathold.standins.mail.faults import Faults
from seathold.standins.mail.store import KeyReused, Received, Store
from seathold.standins.sandbox.answers import (
    Refused,
    endpoint,
    json_answer,
    parse,
    read_body,
    refusal,
)
from seathold.standins.sandbox.shapes import Reference, Shape


class NewSms(Shape):
    to: Annotated[str, Field(pattern=r"^\+?[0-9]{5,15}$")]
    text: Annotated[str, Field(min_length=1, max_length=1600)]
    reference: Reference


class Web:
    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def messages(self, request: Request, _: bytes) -> Response:
        return json_answer({"items": self._store.all(request.query_params.get("to"))})

    def configure(self, _: Request, body: bytes) -> Response:
        return json_answer(self._faults.change(body).model_dump())

    async def sms(self, request: Request) -> Response:
        """Take one SMS; a repeat of its ``Idempotency-Key`` gets the same answer."""
        try:
            body = await read_body(request)
            fault, hang_ms = self._faults.sms(), self._faults.config.hang_ms
            if fault == "500":
                raise Refused(500, "internal", "something broke on our side")
            if fault == "422":
                raise Refused(422, "unreachable", "no such number")
            answer = self._take(request.headers.get("idempotency-key"), body)
        except Refused as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is left to read it
        if fault == "hang":
            await asyncio.sleep(hang_ms / 1000)
        return answer

    def _take(self, key: str | None, body: bytes) -> Response:
        sms = parse(NewSms, body)
        headers = {"Message-ID": sms.reference, **({"Idempotency-Key": key} if key else {})}
        message = Received("sms", sms.to, sms.text, headers)
        if key is None:
            [message_id] = self._store.add([message])
        else:
            message_id = self._once(key, body, message)
        return json_answer({"id": str(message_id)}, 201)

    def _once(self, key: str, body: bytes, message: Received) -> int:
        try:
            return self._store.add_once(key, body, message)
        except KeyReused as error:
            raise Refused(422, "idempotency_key_reused", "the key had another body") from error


async def healthz(_: Request) -> Response:
    return json_answer({"status": "ok"})


def routes(store: Store, faults: Faults) -> list[Route]:
    web = Web(store, faults)
    return [
        Route("/api/messages", endpoint(web.messages), methods=["GET"]),
        Route("/api/sms", web.sms, methods=["POST"]),
        Route("/test/config", endpoint(web.configure), methods=["POST"]),
        Route("/healthz", healthz),
    ]
