"""What a buyer is told, the seams it leaves by, and what follows from how a try to send it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from domain.booking import Booking
from domain.events import Event, EventType
from domain.money import Money
from domain.user import ALL, Choices
from services.ports import Transaction

# 2, 4, 8 … seconds, then five minutes apart: a mail server away for a night loses nothing, and
# every try is within the 24 h for which providers remember an idempotency key.
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0
MAX_ATTEMPTS = 280
# SMTP has no idempotency key: after a lost answer one more try, with the same Message-ID, and
# after a second loss none, for most messages whose answer is lost did arrive (RFC 1047). An SMS
# carries a key by which its provider knows a repeat, so repeats are safe.
# A sender that ended before it knew may have handed nothing over; so the one more try of a mail is
# written down at its hand-over, and no mail is given up that was never on its way in that try.
MAX_AMBIGUOUS = {"email": 2, "sms": MAX_ATTEMPTS}
# Mailed only to who wants to know: nothing was taken, or another message follows.
OPTIONAL = frozenset({"lapse", "payment_failed", "refund_accepted"})

assert MAX_ATTEMPTS * LONGEST_PAUSE_SECONDS <= 24 * 3600, "a key must outlive the last try"


@dataclass(frozen=True, slots=True)
class RefundLine:
    """Money on its way back, and why: ``late``, ``duplicate``, ``mismatch``, ``cancelled``, …

    ``asked``: somebody asked for it, giving up ``seats``.
    """

    amount: Money
    reason: str
    asked: bool = False
    seats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferLine:
    """Other seats that are kept for the buyer until ``expires_at`` (aware), if still open."""

    seats: tuple[str, ...]
    expires_at: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """Everything a template may say, read when the message is sent.

    ``starts_at`` is aware; ``timezone`` is the theatre's IANA name. ``seats`` are labels in
    reading order. ``email`` and ``phone`` are the owner's. ``refunds`` are those that the message
    is about, ``voids`` were promised and not taken. ``lapse`` says what became of a pay page:
    ``unpaid``, ``uncertain``, ``refunding``; None when none was opened. ``released``: staff ended
    the hold before its time. ``held_until`` is the end of a hold that stands, ``taken_back`` what
    lost disputes took. ``came_late``: the payment that confirmed the booking came after the hold's
    end. ``email`` is None once its owner's account is erased; ``wants`` are their choices.
    """

    booking_id: UUID
    template: str
    revision: int
    booking_state: str
    name: str
    email: str | None
    phone: str | None
    movie: str
    theatre: str
    city: str
    address: str
    auditorium: str
    starts_at: datetime
    timezone: str
    seats: tuple[str, ...]
    total: Money
    refunds: tuple[RefundLine, ...] = ()
    voids: tuple[RefundLine, ...] = ()
    lapse: str | None = None
    released: bool = False
    held_until: datetime | None = None
    taken_back: Money | None = None
    came_late: bool = False
    offer: OfferLine | None = None
    wants: Choices = ALL

    @property
    def key(self) -> str:
        """The notification's name, the same for every try and every channel."""
        return f"{self.booking_id}-{self.template}-{self.revision}"

    @property
    def about(self) -> dict[str, str]:
        """What a log line names it by."""
        return {"booking_id": str(self.booking_id)}

    def is_wanted(self, channel: str) -> bool:
        """Whether its owner wants it this way; what they must know is mailed in any case."""
        if channel == "sms":
            return self.wants.sms
        is_optional = self.template in OPTIONAL and self.lapse in (None, "unpaid")
        return self.wants.email or not is_optional


def tell(tx: Transaction, booking: Booking, template: str, *, revision: int = 1) -> Event:
    """Queue a message to the booking's owner; the event that says so, for its stream.

    The same revision of a template is sent once.
    """
    tx.outbox.queue(
        booking_id=booking.id, user_id=booking.user_id, template=template, revision=revision
    )
    return Event(EventType.NOTIFICATION_QUEUED, {"template": template})


class SendError(Exception):
    """A message that is not known to have arrived. ``str`` of it names no person."""


class NotSent(SendError):
    """It was certainly not taken; a later try may succeed."""


class Refused(SendError):
    """It was certainly not taken, and no later try will change that."""


class KeyKnown(Refused):
    """It was not taken, for another text was taken under its key before."""


class Ambiguous(SendError):
    """It was handed over, and whether it was taken is not known."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. An SMS is its ``text`` alone; ``subject`` is one line."""

    subject: str
    text: str
    html: str


class Told(Protocol):
    """What the loop that sends asks of a notice, whatever it tells of."""

    @property
    def key(self) -> str: ...
    @property
    def about(self) -> dict[str, str]: ...
    @property
    def template(self) -> str: ...
    @property
    def email(self) -> str | None: ...
    @property
    def phone(self) -> str | None: ...
    def is_wanted(self, channel: str) -> bool: ...


N = TypeVar("N", bound=Told)
N_co = TypeVar("N_co", bound=Told, covariant=True)
# Renders a notice for a channel, ``email`` or ``sms``; raises Refused if it cannot be rendered.
Render = Callable[[N, str], Message]

HandingOver = Callable[[], Awaitable[None]]


class Mailer(Protocol):
    async def send(
        self, to: str, message: Message, *, reference: str, handing_over: HandingOver | None = None
    ) -> None:
        """Hand the mail to a server that takes responsibility for it, or raise ``SendError``.

        Its Message-ID is made of ``reference``. ``handing_over`` is awaited when the server is
        ready for the mail, before any of it goes; what it raises ends the try.
        """
        ...


class SmsSender(Protocol):
    async def send(self, to: str, text: str, *, reference: str) -> None:
        """Hand over the SMS, or raise ``SendError``; a repeat of a reference is sent once.

        With another text or number than before it is ``KeyKnown``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of ``notification_outbox`` that is being sent. ``attempts`` counts this try too."""

    id: int
    channel: str
    attempts: int
    ambiguous_attempts: int

    @property
    def notes_handover(self) -> bool:
        """Whether this may be its last try for doubt."""
        unknown = self.ambiguous_attempts + 1
        return self.channel == "email" and unknown >= MAX_AMBIGUOUS[self.channel]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recorded of a try; ``wait_seconds`` only where another one follows."""

    state: str
    reason: str | None = None
    ambiguous: bool = False
    wait_seconds: float | None = None


class OutboxQueue(Protocol[N_co]):
    async def take(self, limit: int, *, lease_seconds: float) -> Sequence[tuple[Delivery, N_co]]:
        """Take due notifications, oldest first; others skip them until the lease ends.

        A lease that ran out unrecorded is first written down as an ambiguous try, see ``lost``.
        """
        ...

    async def note_handover(self, delivery: Delivery) -> bool:
        """Write that a mail is handed over from now on; False as for ``record``."""
        ...

    async def record(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Write how the try went; False if its lease ran out and it is no longer this try's."""
        ...


SENT = Outcome("sent")
NO_PHONE = Outcome("suppressed", "the owner has no phone number")
NO_EMAIL = Outcome("suppressed", "the owner's account is erased")
UNWANTED = Outcome("suppressed", "the owner does not want it this way")


def lost(delivery: Delivery, *, handed_over: bool) -> Outcome:
    """What follows from a try whose lease ran out; ``handed_over`` is what it noted, if it does."""
    if delivery.notes_handover and not handed_over:
        return after(NotSent("the sender ended before it handed the mail over"), delivery)
    return after(Ambiguous("the sender ended before it knew"), delivery)


def after(error: SendError, delivery: Delivery) -> Outcome:
    """What follows from a try that failed: another one later, or the end with its reason.

    A key that is known after doubt settles the doubt: the text has changed, and the first is sent.
    """
    if isinstance(error, KeyKnown) and delivery.ambiguous_attempts:
        return Outcome("sent", f"taken at a try whose outcome was unknown: {error}")
    ambiguous = isinstance(error, Ambiguous)
    unknown = delivery.ambiguous_attempts + ambiguous
    if isinstance(error, Refused):
        return Outcome("failed", f"refused: {error}")
    if ambiguous and unknown >= MAX_AMBIGUOUS[delivery.channel]:
        return Outcome("failed", f"outcome unknown {unknown} times: {error}", ambiguous)
    if delivery.attempts >= MAX_ATTEMPTS:
        return Outcome("failed", f"gave up after {delivery.attempts} tries: {error}", ambiguous)
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(delivery.attempts - 1, 10))
    told = f"outcome unknown: {error}" if ambiguous else str(error)
    return Outcome("pending", told, ambiguous, pause)
