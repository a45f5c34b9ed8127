"""A mail as bytes, by the standard library's plain parts.

Its newer ``EmailMessage`` parses every header that it is given: six times the CPU, and an encoded
word in a title, ``=?utf-8?q?a=0D=0ABcc:_x?=``, became a header line of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.charset import QP, Charset
from email.header import Header
from email.headerregistry import Address
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP, compat32
from email.utils import format_datetime, parseaddr

from services.notification import Message

# What may stand in a header as it is, on one line; "=?" would be read as an encoded word.
PLAIN_SUBJECT = re.compile(r"(?!.*=\?)[!-~](?:[ -~]{0,66}[!-~])?")
MESSAGE_ID = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+", re.ASCII)
SUBJECT_LENGTH = 76
# No quoted-printable text can hold "=_", so no text can end its part (RFC 2045, 6.7).
BOUNDARY = "=_seathold"
LINES = compat32.clone(linesep="\r\n")
UTF_8 = Charset("utf-8")
UTF_8.body_encoding = QP


class MailMaker:
    """Makes the mails of one sender, as ``Name <address>``; ``address`` is the bare one."""

    def __init__(self, sender: str) -> None:
        name, self.address = parseaddr(sender)
        found = Address(name, addr_spec=self.address)
        folded = SMTP.fold(*SMTP.header_store_parse("From", found))
        self._from = folded.removeprefix("From:").strip()
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
        mail = MIMEMultipart("alternative", boundary=BOUNDARY, policy=LINES)
        mail["From"] = self._from
        mail["To"] = to
        mail["Subject"] = _subject(message.subject)  # type: ignore[assignment]
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{reference}@{self._domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.attach(MIMEText(message.text, "plain", UTF_8, policy=LINES))  # type: ignore[arg-type]
        mail.attach(MIMEText(message.html, "html", UTF_8, policy=LINES))  # type: ignore[arg-type]
        return mail.as_bytes()


def _subject(text: str) -> str | Header:
    if PLAIN_SUBJECT.fullmatch(text):
        return text
    # One line first: where the library sees a line's end it would begin a new one.
    return Header(" ".join(text.split()), "utf-8", SUBJECT_LENGTH, "Subject")
