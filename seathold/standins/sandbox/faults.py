"""Faults on demand: how the ``/v1`` API and the delivery of webhooks misbehave."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from seathold.standins.sandbox.answers import (
    Endpoint,
    Handler,
    Refused,
    parse,
    read_body,
    refusal,
)
from seathold.standins.sandbox.shapes import Shape, WebUrl

Rate = Annotated[float, Field(ge=0, le=1)]


class Config(Shape):
    """The faults in force. A field set to null goes back to its default.

    drop_rate: share of webhook deliveries lost for good, as if the network had eaten them.
    latency_ms: every call waits this long before it is looked at.
    error_rate: share of calls answered 500; all of them if only ``fail_after_effect`` is set.
    fail_after_effect: the call takes effect first, then the fault below strikes.
    hang_ms: no answer for so long; the effect comes before it or, without the above, after it.
    respond: what every call gets in place of its answer.
    refund_outcome: how new refunds end at the bank, or that our balance is too low for any.
    """

    webhook_url: WebUrl | None = None
    drop_rate: Rate = 0
    latency_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    error_rate: Rate | None = None
    fail_after_effect: bool = False
    hang_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    respond: Literal["html", "redirect", "429"] | None = None
    refund_outcome: Literal["succeeded", "pending", "failed", "insufficient_balance"] = "succeeded"

    @model_validator(mode="before")
    @classmethod
    def null_means_default(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {
            name: fields[name].default if value is None and name in fields else value
            for name, value in given.items()
        }


class Faults:
    """The configuration in force; a restart forgets it."""

    def __init__(self, webhook_url: str) -> None:
        self._start_url = webhook_url or None
        self.config = Config(webhook_url=self._start_url)

    def change(self, body: bytes) -> Config:
        """Set the fields that ``body`` names and leave the others.

        Raises:
            Refused: 400.
        """
        given = parse(Config, body)
        named = {name: getattr(given, name) for name in given.model_fields_set}
        if "webhook_url" in named and named["webhook_url"] is None:
            named["webhook_url"] = self._start_url
        self.config = self.config.model_copy(update=named)
        return self.config

    def drops(self) -> bool:
        """Whether the delivery at hand is lost."""
        return random.random() < self.config.drop_rate  # nosec B311

    def answer_instead(self) -> Response | None:
        """The answer a call gets in place of its own, or none."""
        config = self.config
        if config.respond == "html":
            return HTMLResponse("<!doctype html><title>Sorry</title><h1>Down for a moment</h1>")
        if config.respond == "redirect":
            return RedirectResponse("/healthz", 302)
        if config.respond == "429":
            answer = refusal(Refused(429, "rate_limited", "too many requests"))
            answer.headers["Retry-After"] = "1"
            return answer
        rate = config.error_rate
        if rate is None:
            rate = 1.0 if config.fail_after_effect and not config.hang_ms else 0.0
        if random.random() < rate:  # nosec B311
            return refusal(Refused(500, "internal", "something broke on our side"))
        return None


def faulty(faults: Faults, handler: Handler) -> Endpoint:
    """``handler`` as an endpoint that suffers the faults in force when the call arrives."""

    def act(request: Request, body: bytes) -> Response:
        try:
            return handler(request, body)
        except Refused as error:
            return refusal(error)

    async def answer(request: Request) -> Response:
        try:
            # Read first: a client that gives up while we hang must not undo a late effect.
            body = await read_body(request)
        except Refused as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        config, instead = faults.config, faults.answer_instead()
        if config.latency_ms:
            await asyncio.sleep(config.latency_ms / 1000)
        if not config.fail_after_effect:
            if config.hang_ms:
                await asyncio.sleep(config.hang_ms / 1000)
            return instead or act(request, body)
        done = act(request, body)
        if config.hang_ms:
            await asyncio.sleep(config.hang_ms / 1000)
        return instead or done

    return answer
