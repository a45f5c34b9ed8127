"""The SMTP side of the sink: takes mail for anybody, delivers it nowhere."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import EmailMessage
from socket import socket
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from seathold.standins.mail.faults import Faults
from seathold.standins.mail.store import Received, Store


class Sink:
    """aiosmtpd's handler: keeps each message once for each of its recipients."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._faults.smtp("MAIL") == "421":
            # After the answer, which is written before the loop comes round.
            asyncio.get_running_loop().call_soon(_line(server).close)
            return "421 4.3.2 the server is going away"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender taken"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = self._faults.smtp("RCPT")
        if fault == "450":
            return f"450 4.2.1 <{address}> mailbox busy"
        if fault == "550":
            return f"550 5.1.1 <{address}> no such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 recipient taken"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        fault, slow_ms = self._faults.smtp("DATA"), self._faults.config.slow_ms
        if fault == "451":
            return "451 4.3.0 a moment's trouble"
        if fault == "554":
            return "554 5.7.1 the message is refused"
        self._store.add(received(cast(bytes, envelope.content), envelope.rcpt_tos))
        if fault == "cut_after_data":
            _line(server).abort()
        if fault == "slow":
            await asyncio.sleep(slow_ms / 1000)
        return "250 2.0.0 taken"


def received(content: bytes, recipients: list[str]) -> list[Received]:
    """The mail as it is kept, once for each recipient."""
    mail = email.message_from_bytes(content, policy=email.policy.default)
    headers: dict[str, str] = {}
    for name, value in mail.items():
        told = str(value).strip()  # a folded header begins with the blank of its fold
        headers[name] = f"{headers[name]}\n{told}" if name in headers else told
    return [
        Received(
            channel="email",
            to=recipient,
            subject=str(mail["Subject"] or ""),
            text=_body(mail, "plain"),
            html=_body(mail, "html"),
            headers=headers,
            attachments=[_attachment(part) for part in mail.iter_attachments()],
        )
        for recipient in recipients
    ]


def _line(server: SMTP) -> asyncio.Transport:
    return cast(asyncio.Transport, server.transport)


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _attachment(part: Any) -> dict[str, Any]:
    content = part.get_payload(decode=True) or b""
    name = part.get_filename() or ""
    return {"name": name, "type": part.get_content_type(), "size": len(content)}


async def serve(store: Store, faults: Faults, at: socket) -> asyncio.Server:
    """Listen; the caller closes what it gets."""
    loop = asyncio.get_running_loop()
    sink = Sink(store, faults)
    return await loop.create_server(lambda: SMTP(sink, loop=loop, ident="Seathold sink"), sock=at)
