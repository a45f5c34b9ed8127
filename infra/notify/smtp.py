"""E-mail by SMTP; an answer lost after the message was handed over is told apart."""

from __future__ import annotations

import asyncio
import re

import aiosmtplib
from email_validator import EmailNotValidError, validate_email

from infra.notify.kept import KeptConnections
from infra.notify.mime import MailMaker
from infra.settings import Settings
from services.notification import (
    Ambiguous,
    HandingOver,
    Message,
    NotSent,
    Refused,
    SendError,
)

HANDOVER_SECONDS = 20.0
# Servers may work on a message before they answer; giving up early makes doubles (RFC 1047).
ANSWER_SECONDS = 60.0
# Longer than the pauses within a rush, shorter than any server waits for us.
IDLE_SECONDS = 5.0

ENHANCED_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


class SmtpMailer:
    """Sends by connections kept open for a while, with TLS where the server offers it.

    Where it is needed (``Settings.smtp_needs_tls``), nothing goes to a server that has none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._maker = MailMaker(settings.mail_from)
        self._host = settings.smtp_host
        self._port = settings.smtp_port
        self._user = settings.smtp_user
        password = settings.smtp_password
        self._password = password.get_secret_value() if password else None
        self._start_tls = True if settings.smtp_needs_tls else None
        self._answer_seconds = answer_seconds
        self._kept = KeptConnections(idle_seconds)

    async def aclose(self) -> None:
        """End the connections that wait for a next message; call it when none is being sent."""
        self._kept.close()

    async def send(
        self, to: str, message: Message, *, reference: str, handing_over: HandingOver | None = None
    ) -> None:
        """Hand over one mail; each try of a ``reference`` has the same Message-ID.

        Raises:
            NotSent: no connection, a server that refuses us, or a 4xx answer. Refused: a 5xx
                answer to the recipient or the message, or an address no mail can go to.
                Ambiguous: all was handed over and the answer never came.
        """
        recipient = _ascii_address(to)
        mail = self._maker.mail(recipient, message, reference=reference)
        client = await self._ready(recipient)
        try:
            if handing_over is not None:
                await handing_over()
            await self._hand_over(client, mail)
        except BaseException:
            client.close()
            raise
        self._kept.keep(client)

    async def _ready(self, recipient: str) -> aiosmtplib.SMTP:
        """A connection whose server now takes the message; nothing of it was sent yet.

        Only a new connection's no counts: a kept one may be dead, or have had its share.
        """
        kept = self._kept.take()
        if kept is not None:
            try:
                await self._introduce(kept, recipient)
            except SendError:
                pass
            else:
                return kept
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            start_tls=self._start_tls,
            timeout=HANDOVER_SECONDS,
        )
        await self._introduce(client, recipient)
        return client

    async def _introduce(self, client: aiosmtplib.SMTP, recipient: str) -> None:
        """Everything up to the server's word that it now takes the message, else it is closed.

        A no before the recipient is named is about us, for all our mail, and may be mended.
        """
        ready = sender_taken = False
        try:
            async with asyncio.timeout(HANDOVER_SECONDS):
                if not client.is_connected:
                    await client.connect()
                await client.mail(self._maker.address)
                sender_taken = True
                await client.rcpt(recipient)
                answer = await client.execute_command(b"DATA")
            ready = answer.code == 354
        except aiosmtplib.SMTPResponseException as error:
            if not sender_taken:
                told = _told(error.code, error.message)
                raise NotSent(f"the mail server refuses us: {told}") from error
            raise _answered(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotSent(f"no way to the mail server: {type(error).__name__}") from error
        finally:
            if not ready:
                client.close()
        if not ready:
            raise _answered(answer.code, answer.message)

    async def _hand_over(self, client: aiosmtplib.SMTP, mail: bytes) -> None:
        """The message and the dot; from its first byte on a lost connection leaves doubt."""
        body = mail.replace(b"\n.", b"\n..") + b".\r\n"
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
    """What an unhappy answer to the recipient, or to the message, means."""
    kind = Refused if 500 <= code <= 599 else NotSent
    return kind(f"the mail server answered {_told(code, text)}")


def _told(code: int, text: str) -> str:
    """An answer by its codes. Its text stays out: servers repeat addresses in it."""
    enhanced = ENHANCED_CODE.match(text)
    return f"{code} {enhanced[0]}" if enhanced else str(code)
