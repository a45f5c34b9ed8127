"""The page a person pays on: one look, three buttons, no asset from anywhere."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from seathold.standins.sandbox import payments, sessions
from seathold.standins.sandbox.answers import Refused, endpoint
from seathold.standins.sandbox.shapes import Outcome, ScriptedPay
from seathold.standins.sandbox.times import MILLISECOND, now_us, to_text
from seathold.standins.sandbox.v1 import Sandbox

# How many digits are behind the point; two where not listed (ISO 4217).
MINOR_DIGITS = {
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def money_text(amount: int, currency: str) -> str:
    """Minor units for people to read, such as ``1,024.00 EUR``."""
    digits = MINOR_DIGITS.get(currency, 2)
    whole, rest = divmod(amount, 10**digits)
    return f"{whole:,}.{rest:0{digits}d} {currency}" if digits else f"{whole:,} {currency}"


class PayPage:
    """The handlers under ``/pay``."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._template = TEMPLATES.get_template("pay.html")

    def show(self, request: Request, _: bytes) -> Response:
        """The page in whatever state the session is; ``?left`` after a person walked away."""
        now = now_us()
        self._sandbox.expire_due(now)
        conn, session_id = self._sandbox.store.read, request.path_params["id"]
        try:
            session = sessions.session_row(conn, session_id)
        except Refused as error:
            return self._render({"view": "unknown", "title": "No such payment"}, error.status)
        made = payments.payments_of(conn, session_id)
        view = str(session["status"])
        if view == "open" and "left" in request.query_params:
            view = "left"
        elif view == "open" and made and made[-1]["status"] == "failed":
            view = "failed"
        return self._render(
            {
                "view": view,
                "title": f"Pay {money_text(session['amount'], session['currency'])}",
                "session": session,
                "amount": money_text(session["amount"], session["currency"]),
                "expires_at": to_text(session["expires_at_us"]),
                "left_ms": (session["expires_at_us"] - now) // MILLISECOND,
            }
        )

    def act(self, request: Request, body: bytes) -> Response:
        """Pay, let the payment fail, or walk away; then back to the page, which tells."""
        session_id, now = request.path_params["id"], now_us()
        wish = parse_qs(body.decode("ascii", "replace")).get("act", [""])[0]
        here = f"/pay/{session_id}"
        if wish == "abandon":
            return RedirectResponse(f"{here}?left", 303)
        self._sandbox.expire_due(now)
        with self._sandbox.store.write() as conn:
            session = sessions.session_row(conn, session_id)
            # A page that was open too long, or in two tabs, only gets to see how things stand.
            if wish in ("pay", "fail") and session["status"] == "open":
                paid: Outcome = "captured" if session["mode"] == "capture" else "authorised"
                act = ScriptedPay(outcome=paid if wish == "pay" else "failed")
                payments.pay(conn, session, act, now)
        self._sandbox.courier.wake()
        return RedirectResponse(here, 303)

    def _render(self, values: dict[str, Any], status: int = 200) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return HTMLResponse(self._template.render(nonce=nonce, **values), status, headers)


def routes(sandbox: Sandbox) -> list[Route]:
    """The pay page and what its buttons send."""
    page = PayPage(sandbox)
    return [
        Route("/pay/{id}", endpoint(page.show), methods=["GET"]),
        Route("/pay/{id}", endpoint(page.act), methods=["POST"]),
    ]
