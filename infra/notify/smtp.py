"""E-mail by SMTP; an answer lost after the message was handed over is told apart."""

from __future__ import annotations

import asyncio
import contextlib
import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as CRLF
from email.utils import formatdate, parseaddr

import aiosmtplib
from email_validator import EmailNotValidError, validate_email

from infra.settings import Settings
from services.notification import Ambiguous, Message, NotSent, Refused, SendError

HANDOVER_SECONDS = 20.0
# Servers may work on a message before they answer; giving up early makes doubles (RFC 1047).
ANSWER_SECONDS = 60.0
QUIT_SECONDS = 1.0

ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")
LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class SmtpMailer:
    """One connection a message, with TLS where the server offers it."""

    def __init__(self, settings: Settings, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        name, address = parseaddr(settings.mail_from)
        self._from = Address(name, addr_spec=address)
        self._host = settings.smtp_host
        self._port = settings.smtp_port
        self._answer_seconds = answer_seconds

    async def send(self, to: str, message: Message, *, reference: str) -> None:
        """Hand over one mail; each try of a ``reference`` has the same Message-ID.

        Raises:
            NotSent: no connection, or a 4xx answer. Refused: a 5xx answer, or an address no mail
                can go to. Ambiguous: all was handed over and the answer never came.
        """
        recipient = _ascii_address(to)
        mail = self._mail(recipient, message, reference)
        client = aiosmtplib.SMTP(hostname=self._host, port=self._port, timeout=HANDOVER_SECONDS)
        try:
            await self._introduce(client, recipient)
            await self._hand_over(client, mail)
        finally:
            client.close()

    async def _introduce(self, client: aiosmtplib.SMTP, recipient: str) -> None:
        """Everything up to the server's word that it now takes the message."""
        try:
            async with asyncio.timeout(HANDOVER_SECONDS):
                await client.connect()
                await client.mail(self._from.addr_spec)
                await client.rcpt(recipient)
                answer = await client.execute_command(b"DATA")
        except aiosmtplib.SMTPResponseException as error:
            raise _answered(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotSent(f"no way to the mail server: {type(error).__name__}") from error
        if answer.code != 354:
            raise _answered(answer.code, answer.message)

    async def _hand_over(self, client: aiosmtplib.SMTP, mail: EmailMessage) -> None:
        """The message and the dot; from its first byte on a lost connection leaves doubt."""
        body = LEADING_DOT.sub(b"..", mail.as_bytes(policy=CRLF)) + b".\r\n"
        try:
            if client.protocol is None:
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            client.protocol.write(body)
            answer = await client.protocol.read_response(timeout=self._answer_seconds)
        except aiosmtplib.SMTPResponseException as error:
            raise Ambiguous(f"the mail server answered nonsense: {error.code}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Ambiguous(f"no answer to the message: {type(error).__name__}") from error
        if answer.code != 250:
            raise _answered(answer.code, answer.message)
        # It is sent; how the server takes leave changes nothing.
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=QUIT_SECONDS)

    def _mail(self, recipient: str, message: Message, reference: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._from
        # The address alone: a name adds nothing and is text that somebody typed.
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = message.subject
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = f"<{reference}@{self._from.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail


def _ascii_address(to: str) -> str:
    """The address as SMTP wants it: the domain in ASCII."""
    try:
        found = validate_email(
            to, check_deliverability=False, test_environment=True, allow_smtputf8=False
        )
    except EmailNotValidError as error:
        raise Refused("no mail can go to this address") from error
    assert found.ascii_email is not None, "without SMTPUTF8 every address has an ASCII form"
    return found.ascii_email


def _answered(code: int, text: str) -> SendError:
    """What an unhappy answer means. Its text stays out: servers repeat addresses in it."""
    enhanced = ENHANCED_CODE.match(text)
    told = f"{code} {enhanced[0]}" if enhanced else str(code)
    kind = Refused if 500 <= code <= 599 else NotSent
    return kind(f"the mail server answered {told}")
