"""Messages from templates: HTML is escaped, times are the theatre's own, amounts are for people."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from domain.money import Money, format_money
from services.notification import Message, Notice, OfferLine, RefundLine, Refused

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    auto_reload=False,
)

SUBJECTS = {
    "confirmation": "Your tickets for {movie}",
    "lapse": "Your seats for {movie} are free again",
    "offer": "Your payment for {movie} came late: choose by {until}",
    "void": "Nothing was taken for {movie}",
    "refund": "{headline}: {refund}",
    "refund_accepted": "Your refund is under way: {refund}",
    "refund_failed": "Your refund of {refund} needs a second look",
    "payment_failed": "Your payment for {movie} did not go through",
    "charged_back": "Your tickets for {movie} are void",
    "show_cancelled": "Cancelled: {movie} on {day}",
}
# By why money goes back: the headline, and the sentence after the sum.
REASONS = {
    "late": (
        "Your payment came too late and goes back",
        "The payment arrived after the time to pay had run out.",
    ),
    "duplicate": (
        "A second payment goes back to you",
        "This booking had been paid already.",
    ),
    "mismatch": (
        "A payment of a wrong amount goes back to you",
        "The amount paid was not the amount due.",
    ),
    "cancelled": (
        "You had cancelled, and your payment goes back",
        "The booking had been cancelled.",
    ),
    "requested": ("Your refund has been sent", "This is the refund you asked for."),
    "goodwill": ("A refund has been sent to you", "This is a refund from the theatre."),
    "show_cancelled": ("Your money for a cancelled show was sent", "The show was cancelled."),
}
SOLD = ("confirmed", "refund_pending", "disputed")
ANY_REASON = ("Your money is on its way back", "We could not use this payment.")
NOT_PAID = "Nothing was charged."
# What became of a pay page that was opened, in long and in short.
LAPSES = {
    "unpaid": (f"We received no payment from you. {NOT_PAID}", "We received no payment."),
    "uncertain": (
        "We do not know yet whether a payment is on its way; if it comes, it goes back whole.",
        "A payment that still comes goes back.",
    ),
    "refunding": (
        "A payment came in that we could not use; it goes back whole, as another message tells.",
        "Your payment goes back; see your mail.",
    ),
}
SMS_NAME_LENGTH = 32


def render(notice: Notice, channel: str) -> Message:
    """The message of ``notice`` for ``email`` or, a short text without HTML, for ``sms``.

    Raises:
        Refused: what the notice tells does not fit its template.
    """
    try:
        values = _values(notice)
        if channel == "sms":
            values |= {name: _short(values[name]) for name in ("movie", "theatre")}
            return Message("", page(f"{notice.template}.sms", values), "")
        return Message(
            subject=SUBJECTS[notice.template].format_map(values),
            text=page(f"{notice.template}.txt", values),
            html=page(f"{notice.template}.html", values),
        )
    except (TemplateError, ZoneInfoNotFoundError, KeyError) as error:
        raise Refused(f"cannot be rendered: {type(error).__name__}") from error


def page(name: str, values: dict[str, Any]) -> str:
    """A template with its values."""
    return TEMPLATES.get_template(name).render(values).strip()


def _values(notice: Notice) -> dict[str, Any]:
    if notice.template.startswith("refund") and not notice.refunds:
        raise Refused("no refund of this booking stands")
    if notice.template == "void" and not notice.voids:
        raise Refused("no payment of this booking was let go")
    if notice.template == "lapse" and notice.booking_state == "confirmed":
        raise Refused("a late payment has confirmed this booking since")
    offer = notice.offer
    if notice.template == "offer" and (offer is None or not offer.is_open):
        raise Refused("the offer has been answered or has run out")
    local = notice.starts_at.astimezone(ZoneInfo(notice.timezone))
    headlines = [REASONS.get(line.reason, ANY_REASON) for line in notice.refunds]
    lapse, lapse_short = LAPSES[notice.lapse] if notice.lapse else (NOT_PAID, NOT_PAID)
    held_until = notice.held_until.astimezone(local.tzinfo) if notice.held_until else None
    return {
        "name": one_line(notice.name),
        "movie": one_line(notice.movie),
        "theatre": one_line(notice.theatre),
        "place": ", ".join(one_line(part) for part in (notice.address, notice.city) if part),
        "auditorium": one_line(notice.auditorium),
        "day": f"{local:%A}, {local.day} {local:%B %Y}",
        "time": f"{local:%H:%M}",
        "short_when": f"{local:%a} {local.day} {local:%b %H:%M}",
        "zone": local.tzname(),
        "timezone": notice.timezone,
        "seats": offer.seats if offer is not None and notice.template == "offer" else notice.seats,
        "lost_seats": notice.seats,
        "until": _until(offer, ZoneInfo(notice.timezone)),
        "came_late": notice.came_late,
        "total": format_money(notice.total),
        "refunds": _told(notice.refunds),
        "voids": _told(notice.voids),
        "refund": _in_all(notice),
        "headline": headlines[0][0] if headlines else "",
        "given_up": [label for line in notice.refunds for label in line.seats],
        "lapse": lapse,
        "lapse_short": lapse_short,
        "unpaid": notice.lapse == "unpaid",
        "released": notice.released,
        "held_until": f"{held_until:%H:%M %Z}" if held_until else "",
        "held_short": f"{held_until:%H:%M}" if held_until else "",
        "taken_back": format_money(notice.taken_back or notice.total),
        "confirmed": notice.booking_state in ("confirmed", "disputed"),
        "owed": notice.total.amount > 0 and notice.booking_state in SOLD,
        "booking_id": str(notice.booking_id),
    }


def _told(lines: Sequence[RefundLine]) -> list[dict[str, Any]]:
    return [
        {
            "amount": format_money(line.amount),
            "reason": REASONS.get(line.reason, ANY_REASON)[1],
            "sent": line.asked,
        }
        for line in lines
    ]


def _until(offer: OfferLine | None, zone: ZoneInfo) -> str:
    if offer is None:
        return ""
    end = offer.expires_at.astimezone(zone)
    return f"{end:%H:%M} {end.tzname()}"


def _in_all(notice: Notice) -> str:
    """What goes back, a sum for each currency: a wrong one may be why it goes back."""
    sums: Counter[str] = Counter()
    for line in notice.refunds:
        sums[line.amount.currency] += line.amount.amount
    return " and ".join(format_money(Money(amount, code)) for code, amount in sums.items())


def one_line(text: str) -> str:
    """``text`` without line breaks and other controls: it may stand in a subject."""
    line = " ".join(text.split())
    return "".join(each for each in line if unicodedata.category(each) != "Cc")


def _short(name: str) -> str:
    if len(name) <= SMS_NAME_LENGTH:
        return name
    return name[: SMS_NAME_LENGTH - 3].rstrip() + "..."
