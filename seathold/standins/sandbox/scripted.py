"""The routes under ``/test``: scripts act as buyers, banks and saboteurs; checkers read on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seathold.standins.sandbox import events, payments, refunds, sessions
from seathold.standins.sandbox.answers import endpoint, json_answer, parse
from seathold.standins.sandbox.shapes import (
    Redelivery,
    ScriptedDispute,
    ScriptedPay,
    ScriptedSettlement,
)
from seathold.standins.sandbox.times import now_us
from seathold.standins.sandbox.v1 import Sandbox


class Script:
    """The handlers under ``/test``; none of them suffers faults."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._store = sandbox.store

    def pay(self, request: Request, body: bytes) -> Response:
        act, now = parse(ScriptedPay, body), now_us()
        self._sandbox.expire_due(now)
        with self._store.write() as conn:
            session = sessions.session_row(conn, request.path_params["id"])
            payment_id = payments.pay(conn, session, act, now)
        self._sandbox.courier.wake()
        return json_answer({"payment_id": payment_id})

    def dispute(self, request: Request, body: bytes) -> Response:
        act, payment_id = parse(ScriptedDispute, body), request.path_params["id"]
        with self._store.write() as conn:
            row = payments.payment_row(conn, payment_id)
            refunds.dispute(conn, row, act, now_us())
        self._sandbox.courier.wake()
        row = payments.payment_row(self._store.read, payment_id)
        return json_answer(payments.payment_view(row))

    def settle_refund(self, request: Request, body: bytes) -> Response:
        act, refund_id = parse(ScriptedSettlement, body), request.path_params["id"]
        with self._store.write() as conn:
            row = refunds.refund_row(conn, refund_id)
            refunds.settle_refund(conn, row, act.outcome, now_us())
        self._sandbox.courier.wake()
        return json_answer(refunds.refund_view(refunds.refund_row(self._store.read, refund_id)))

    def redeliver(self, _: Request, body: bytes) -> Response:
        wish = parse(Redelivery, body)
        with self._store.write() as conn:
            queued = events.redeliver(conn, wish.event_ids, wish.shuffle, now_us())
        self._sandbox.courier.wake()
        return json_answer({"queued": queued})

    def configure(self, _: Request, body: bytes) -> Response:
        config = self._sandbox.faults.change(body)
        self._sandbox.courier.wake()
        return json_answer(config.model_dump())

    def read_config(self, _: Request, __: bytes) -> Response:
        return json_answer(self._sandbox.faults.config.model_dump())

    def ledger(self, _: Request, __: bytes) -> Response:
        """Every unit of money and everything that was said about it."""
        conn = self._store.read
        rows = conn.execute("SELECT * FROM payments ORDER BY created_at_us, id")
        return json_answer(
            {
                "payments": [payments.payment_view(row) for row in rows],
                "refunds": refunds.ledger_refunds(conn),
                "events": events.ledger_events(conn),
            }
        )


def routes(sandbox: Sandbox) -> list[Route]:
    """Every route under ``/test``."""
    script = Script(sandbox)
    return [
        Route("/test/sessions/{id}/pay", endpoint(script.pay), methods=["POST"]),
        Route("/test/payments/{id}/dispute", endpoint(script.dispute), methods=["POST"]),
        Route("/test/refunds/{id}/settle", endpoint(script.settle_refund), methods=["POST"]),
        Route("/test/events/redeliver", endpoint(script.redeliver), methods=["POST"]),
        Route("/test/config", endpoint(script.configure), methods=["POST"]),
        Route("/test/config", endpoint(script.read_config), methods=["GET"]),
        Route("/test/ledger", endpoint(script.ledger), methods=["GET"]),
    ]
