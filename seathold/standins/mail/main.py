"""The mail and SMS sink: takes everything, delivers nothing, shows it all."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.controller import Controller
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from seathold.standins.mail.smtp import Faults, Sink
from seathold.standins.mail.store import Store

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail and SMS</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f3f1ec;color:#1d1d1f}}
main{{max-width:760px;margin:0 auto;padding:24px}}h1{{font-size:22px}}
details{{background:#fff;border-radius:10px;margin:10px 0;padding:12px 18px}}
summary{{cursor:pointer}}small{{color:#6b6257}}pre{{white-space:pre-wrap}}
iframe{{width:100%;height:480px;border:1px solid #ddd;border-radius:8px}}</style>
<main><h1>Mail and SMS that would have been sent ({count})</h1>{items}</main></html>"""
ITEM = """<details><summary><strong>{subject}</strong><br>
<small>{channel} to {to}, {at}</small></summary>{body}</details>"""


def create_sink(store: Store, faults: Faults) -> Starlette:
    """The HTTP side: read messages, take SMS, set faults."""

    async def messages(request: Request) -> Response:
        return JSONResponse({"items": store.find(request.query_params.get("to"))})

    async def sms(request: Request) -> Response:
        if faults.sms == "500":
            return JSONResponse({"error": "asked to fail"}, 500)
        try:
            body: dict[str, Any] = await request.json()
            to, text = str(body["to"]), str(body["text"])
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": "send {to, text, reference} as JSON"}, 400)
        key = request.headers.get("idempotency-key")
        message_id = f"<{body.get('reference', '')}@sms>"
        store.add(
            channel="sms",
            to=to,
            subject="",
            text=text,
            html="",
            headers={"Message-ID": message_id},
            attachments=[],
            key=key,
        )
        return JSONResponse({"accepted": True}, 202)

    async def config(request: Request) -> Response:
        wanted = await request.json()
        for name in ("smtp", "sms"):
            setattr(faults, name, wanted.get(name, getattr(faults, name)))
        return JSONResponse({"smtp": faults.smtp, "sms": faults.sms})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def page(_: Request) -> Response:
        found = store.find(None)
        items = "".join(_item(message) for message in reversed(found))
        return HTMLResponse(PAGE.format(count=len(found), items=items or "<p>Nothing yet.</p>"))

    return Starlette(
        routes=[
            Route("/api/messages", messages),
            Route("/api/sms", sms, methods=["POST"]),
            Route("/test/config", config, methods=["POST"]),
            Route("/healthz", health),
            Route("/", page),
        ]
    )


def _item(message: dict[str, Any]) -> str:
    if message["html"]:
        # Sandboxed: a mail may hold anything.
        body = f'<iframe sandbox srcdoc="{html.escape(message["html"])}"></iframe>'
    else:
        body = f"<pre>{html.escape(message['text'])}</pre>"
    return ITEM.format(
        subject=html.escape(message["subject"] or message["text"][:60]),
        channel=message["channel"],
        to=html.escape(message["to"]),
        at=message["received_at"],
        body=body,
    )


def run(host: str, http_port: int, smtp_port: int, db_path: Path) -> None:
    """Serve SMTP and HTTP until SIGTERM."""
    store, faults = Store(db_path), Faults()
    smtp = Controller(Sink(store, faults), hostname=host, port=smtp_port)
    smtp.start()
    try:
        uvicorn.run(create_sink(store, faults), host=host, port=http_port, log_level="warning")
    finally:
        smtp.stop()
