"""Idempotency keys: the same key and body get the first answer again, without a second effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from seathold.standins.sandbox.answers import Refused, json_answer
from seathold.standins.sandbox.store import Store

VISIBLE_ASCII = re.compile(r"[!-~]{1,255}")

INSERT_KEY = """
INSERT INTO idempotency_keys (key, fingerprint, status, answer, created_at_us)
VALUES (?, ?, ?, ?, ?)
"""


def idempotency_key(request: Request) -> str | None:
    """The request's key, if it has one.

    Raises:
        Refused: 400 when it is not 1 to 255 visible ASCII characters.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not VISIBLE_ASCII.fullmatch(key):
        raise Refused(400, "invalid_idempotency_key", "1 to 255 visible ASCII characters")
    return key


def once(
    store: Store,
    request: Request,
    wish: BaseModel,
    effect: Callable[[Connection], dict[str, Any]],
    *,
    now: int,
    status: int = 200,
) -> Response:
    """Run ``effect`` in one transaction with the record of its key, which is kept for good.

    Refusals are not recorded: they changed nothing, so a repeat is judged afresh.

    Raises:
        Refused: 409 when the key came with another path or body; whatever ``effect`` raises.
    """
    key = idempotency_key(request)
    with store.write() as conn:
        if key is None:
            return json_answer(effect(conn), status)
        asked = f"{request.url.path}\n{wish.model_dump_json()}".encode()
        fingerprint = hashlib.sha256(asked).hexdigest()
        seen = conn.execute("SELECT * FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
        if seen is not None:
            return replay(seen["fingerprint"] == fingerprint, seen["status"], seen["answer"])
        answer = json_answer(effect(conn), status)
        conn.execute(INSERT_KEY, (key, fingerprint, status, answer.body, now))
        return answer


def replay(same: bool, status: int, stored: bytes) -> Response:
    if not same:
        raise Refused(409, "idempotency_key_reused", "this key came with another request")
    answer = json_answer(orjson.Fragment(stored), status)
    answer.headers["Idempotent-Replayed"] = "true"
    return answer
