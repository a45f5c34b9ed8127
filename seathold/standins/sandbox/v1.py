"""The provider's API proper: sessions, payments, refunds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seathold.standins.sandbox import payments, refunds, sessions
from seathold.standins.sandbox.answers import Refused, json_answer, parse
from seathold.standins.sandbox.courier import Courier
from seathold.standins.sandbox.faults import Faults, faulty
from seathold.standins.sandbox.idempotency import idempotency_key, once
from seathold.standins.sandbox.shapes import Capture, NewRefund, NewSession, Nothing
from seathold.standins.sandbox.store import Store
from seathold.standins.sandbox.times import EPOCH, from_datetime, now_us

PAGE_SIZE = 100

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What every handler works with. ``public_url`` is where a browser finds the pay page."""

    store: Store
    faults: Faults
    courier: Courier
    public_url: str

    def look(self, conn: Connection, session_id: str) -> Json:
        """The session with its payments, as clients see it.

        Raises:
            Refused: 404.
        """
        row = sessions.session_row(conn, session_id)
        return sessions.session_view(row, payments.payments_of(conn, session_id), self.public_url)

    def expire_due(self, now: int) -> None:
        """Expire what is due, so that no request sees a session past its time still open."""
        if sessions.expire_due(self.store, now):
            self.courier.wake()


class Api:
    """The handlers under ``/v1``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._store = sandbox.store

    def open_session(self, request: Request, body: bytes) -> Response:
        wish, now = parse(NewSession, body), now_us()

        def effect(conn: Connection) -> Json:
            return self._sandbox.look(conn, sessions.open_session(conn, wish, now))

        return once(self._store, request, wish, effect, now=now, status=201)

    def read_session(self, request: Request, _: bytes) -> Response:
        self._sandbox.expire_due(now_us())
        return json_answer(self._sandbox.look(self._store.read, request.path_params["id"]))

    def expire_session(self, request: Request, body: bytes) -> Response:
        session_id = request.path_params["id"]
        wish, now = parse(Nothing, body), now_us()

        def effect(conn: Connection) -> Json:
            sessions.expire(conn, sessions.session_row(conn, session_id), now)
            return self._sandbox.look(conn, session_id)

        return self._told(once(self._store, request, wish, effect, now=now))

    def read_payment(self, request: Request, _: bytes) -> Response:
        row = payments.payment_row(self._store.read, request.path_params["id"])
        return json_answer(payments.payment_view(row))

    def list_payments(self, request: Request, _: bytes) -> Response:
        """Payments changed since a moment, oldest change first."""
        query = request.query_params
        limit = whole_number(query.get("limit", str(PAGE_SIZE)), "limit", 1, PAGE_SIZE)
        after = whole_number(query.get("cursor", "0"), "cursor", 0, 2**62)
        since = moment(query["since"]) if "since" in query else 0
        rows = payments.changed_payments(self._store.read, since, after, limit + 1)
        shown = rows[:limit]
        return json_answer(
            {
                "items": [payments.payment_view(row) for row in shown],
                "next": str(shown[-1]["change"]) if len(rows) > limit else None,
            }
        )

    def capture_payment(self, request: Request, body: bytes) -> Response:
        payment_id = request.path_params["id"]
        wish, now = parse(Capture, body), now_us()

        def effect(conn: Connection) -> Json:
            payments.capture(conn, payments.payment_row(conn, payment_id), wish.amount, now)
            return payments.payment_view(payments.payment_row(conn, payment_id))

        return self._told(once(self._store, request, wish, effect, now=now))

    def void_payment(self, request: Request, body: bytes) -> Response:
        payment_id = request.path_params["id"]
        wish, now = parse(Nothing, body), now_us()

        def effect(conn: Connection) -> Json:
            payments.void(conn, payments.payment_row(conn, payment_id), now)
            return payments.payment_view(payments.payment_row(conn, payment_id))

        return self._told(once(self._store, request, wish, effect, now=now))

    def make_refund(self, request: Request, body: bytes) -> Response:
        wish, now, key = parse(NewRefund, body), now_us(), idempotency_key(request)
        outcome = self._sandbox.faults.config.refund_outcome

        def effect(conn: Connection) -> Json:
            refund_id = refunds.refund(conn, wish, outcome, key, now)
            return refunds.refund_view(refunds.refund_row(conn, refund_id))

        return self._told(once(self._store, request, wish, effect, now=now, status=201))

    def read_refund(self, request: Request, _: bytes) -> Response:
        row = refunds.refund_row(self._store.read, request.path_params["id"])
        return json_answer(refunds.refund_view(row))

    def list_refunds(self, request: Request, _: bytes) -> Response:
        """Every refund of one payment, oldest first."""
        payment_id = request.query_params.get("payment_id", "")
        return json_answer({"items": refunds.refunds_of(self._store.read, payment_id)})

    def _told(self, answer: Response) -> Response:
        self._sandbox.courier.wake()
        return answer


def whole_number(text: str, name: str, least: int, most: int) -> int:
    """``text`` as a number.

    Raises:
        Refused: 400.
    """
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise Refused(400, "invalid", f"{name}: must be a whole number from {least} to {most}")


def moment(text: str) -> int:
    """An RFC 3339 time as microseconds.

    Raises:
        Refused: 400.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise Refused(400, "invalid", "since: must be an RFC 3339 time with its offset")
    return max(from_datetime(when), from_datetime(EPOCH))


def routes(sandbox: Sandbox) -> list[Route]:
    """Every route under ``/v1``; all of them suffer the configured faults."""
    api = Api(sandbox)

    def route(path: str, handler: Callable[[Request, bytes], Response], method: str) -> Route:
        return Route(path, faulty(sandbox.faults, handler), methods=[method])

    return [
        route("/v1/sessions", api.open_session, "POST"),
        route("/v1/sessions/{id}", api.read_session, "GET"),
        route("/v1/sessions/{id}/expire", api.expire_session, "POST"),
        route("/v1/payments", api.list_payments, "GET"),
        route("/v1/payments/{id}", api.read_payment, "GET"),
        route("/v1/payments/{id}/capture", api.capture_payment, "POST"),
        route("/v1/payments/{id}/void", api.void_payment, "POST"),
        route("/v1/refunds", api.make_refund, "POST"),
        route("/v1/refunds", api.list_refunds, "GET"),
        route("/v1/refunds/{id}", api.read_refund, "GET"),
    ]
