"""The SMTP side of the sink, with the habits of servers that are not well."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Literal, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from seathold.standins.mail.store import Store

SmtpFault = Literal["ok", "421", "450", "550", "cut_after_data"]
SmsFault = Literal["ok", "500"]


@dataclass
class Faults:
    """What the sink answers; ``cut_after_data`` keeps the message and hangs up unanswered."""

    smtp: SmtpFault = "ok"
    sms: SmsFault = "ok"


class Sink:
    """aiosmtpd's handler: keeps each message once for each recipient."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._faults.smtp in ("421", "450", "550"):
            return f"{self._faults.smtp} asked to say so"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = cast(bytes, envelope.content)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        for to in envelope.rcpt_tos:
            self._store.add(
                channel="email",
                to=to,
                subject=str(mail["Subject"] or ""),
                text=_body(mail, "plain"),
                html=_body(mail, "html"),
                headers={name: str(value) for name, value in mail.items()},
                attachments=[_attachment(part) for part in mail.iter_attachments()],
            )
        if self._faults.smtp == "cut_after_data":
            cast(asyncio.Transport, server.transport).abort()
        return "250 OK"


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part is not None else ""


def _attachment(part: Any) -> dict[str, Any]:
    payload = part.get_payload(decode=True) or b""
    return {"name": part.get_filename(), "type": part.get_content_type(), "size": len(payload)}
