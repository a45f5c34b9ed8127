"""A mail as bytes, made by hand: the standard library's own maker costs most of a sending's CPU."""

from __future__ import annotations

import re
from binascii import b2a_qp
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.policy import SMTP as CRLF
from email.utils import format_datetime, parseaddr

from services.notification import Message

# What may stand in a header as it is, on one line; "=?" would be read as an encoded word.
PLAIN_SUBJECT = re.compile(r"(?!.*=\?)[!-~](?:[ -~]{0,66}[!-~])?")
MESSAGE_ID = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+", re.ASCII)
SUBJECT_LENGTH = 76
# No quoted-printable text can hold "=_", so no text can end its part (RFC 2045, 6.7).
BOUNDARY = b"=_seathold"
HEAD = (
    "{sender}To: {to}\r\nSubject: {subject}\r\nDate: {date}\r\nMessage-ID: <{reference}@{domain}>"
    "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="=_seathold"\r\n\r\n'
)
PART = (
    b"--%s\r\nContent-Type: text/%s; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n%s\r\n"
)


class MailMaker:
    """Makes the mails of one sender, as ``Name <address>``; ``address`` is the bare one."""

    def __init__(self, sender: str) -> None:
        name, self.address = parseaddr(sender)
        found = Address(name, addr_spec=self.address)
        self._sender = CRLF.fold(*CRLF.header_store_parse("From", found))
        self._domain = found.domain

    def mail(self, to: str, message: Message, *, reference: str) -> bytes:
        """Text and HTML, lines ended by CRLF, 7 bits; whatever the texts hold adds no header.

        ``to`` is an address known to be one, in ASCII: its name adds nothing and is text that
        somebody typed.

        Raises:
            ValueError: ``reference`` cannot be the left half of a Message-ID.
        """
        if not MESSAGE_ID.fullmatch(reference):
            raise ValueError("no Message-ID can be made of the reference")
        head = HEAD.format(
            sender=self._sender,
            to=to,
            subject=_subject(message.subject),
            date=format_datetime(datetime.now(UTC)),
            reference=reference,
            domain=self._domain,
        )
        text = PART % (BOUNDARY, b"plain", _quoted(message.text))
        html = PART % (BOUNDARY, b"html", _quoted(message.html))
        return b"%s%s%s--%s--\r\n" % (head.encode("ascii"), text, html, BOUNDARY)


def _subject(text: str) -> str:
    if PLAIN_SUBJECT.fullmatch(text):
        return text
    # One line first: where the library sees a line's end it would begin a new one.
    line = Header(" ".join(text.split()), "utf-8", SUBJECT_LENGTH, "Subject")
    return line.encode(linesep="\r\n")


def _quoted(text: str) -> bytes:
    """Quoted-printable. Blanks that end a line go: unseen, and quoted they outgrow the line."""
    lines = [line.rstrip(b" \t") for line in text.encode().splitlines()]
    return b2a_qp(b"\r\n".join([*lines, b""]), istext=True)
