"""Messages from templates: HTML is escaped, times are the theatre's own, amounts are for people."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from domain.money import Money, format_money
from services.notification import Message, Notice, OfferLine, Refused

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
    "refund": "Your money is on its way back: {refund}",
}
REASONS = {
    "late": "The payment arrived after the time to pay had run out.",
    "duplicate": "This booking had been paid already.",
    "mismatch": "The amount paid was not the amount due.",
    "cancelled": "The booking had been cancelled.",
    "requested": "This is the refund you asked for.",
    "goodwill": "This is a refund from the theatre.",
}
ANY_REASON = "We could not use this payment."
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
            return Message("", _page(f"{notice.template}.sms", values), "")
        return Message(
            subject=SUBJECTS[notice.template].format_map(values),
            text=_page(f"{notice.template}.txt", values),
            html=_page(f"{notice.template}.html", values),
        )
    except (TemplateError, ZoneInfoNotFoundError, KeyError) as error:
        raise Refused(f"cannot be rendered: {type(error).__name__}") from error


def _page(name: str, values: dict[str, Any]) -> str:
    return TEMPLATES.get_template(name).render(values).strip()


def _values(notice: Notice) -> dict[str, Any]:
    if notice.template == "refund" and not notice.refunds:
        raise Refused("no refund of this booking stands")
    if notice.template == "lapse" and notice.booking_state == "confirmed":
        raise Refused("a late payment has confirmed this booking since")
    offer = notice.offer
    if notice.template == "offer" and (offer is None or not offer.is_open):
        raise Refused("the offer has been answered or has run out")
    local = notice.starts_at.astimezone(ZoneInfo(notice.timezone))
    refunds = [
        {"amount": format_money(line.amount), "reason": REASONS.get(line.reason, ANY_REASON)}
        for line in notice.refunds
    ]
    return {
        "name": _one_line(notice.name),
        "movie": _one_line(notice.movie),
        "theatre": _one_line(notice.theatre),
        "place": ", ".join(_one_line(part) for part in (notice.address, notice.city) if part),
        "auditorium": _one_line(notice.auditorium),
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
        "refunds": refunds,
        "refund": _in_all(notice),
        "confirmed": notice.booking_state == "confirmed",
        "booking_id": str(notice.booking_id),
    }


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


def _one_line(text: str) -> str:
    """``text`` without line breaks and other controls: it may stand in a subject."""
    line = " ".join(text.split())
    return "".join(each for each in line if unicodedata.category(each) != "Cc")


def _short(name: str) -> str:
    if len(name) <= SMS_NAME_LENGTH:
        return name
    return name[: SMS_NAME_LENGTH - 3].rstrip() + "..."
