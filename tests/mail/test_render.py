"""What the messages say, and that nothing a person typed can say more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.money import Money, format_money
from infra.notify.render import render
from services.notification import RefundLine, Refused
from tests.mail.notices import BOOKING, notice, offer, refund

TEMPLATES = [
    "confirmation",
    "lapse",
    "offer",
    "payment_failed",
    "refund",
    "refund_accepted",
    "refund_failed",
    "charged_back",
    "void",
    "show_cancelled",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_names_the_show_in_both_its_forms(template: str) -> None:
    message = render(notice(template), "email")
    for body in (message.text, message.html):
        for fact in ("Ada Lovelace", "Metropolis", "Kino International", "Saal 1", str(BOOKING)):
            assert fact in body
        assert "C12" in body
        assert "C13" in body


def test_a_confirmation_tells_the_total_and_where_the_tickets_are() -> None:
    message = render(notice(total=Money(102400, "EUR")), "email")
    assert message.subject == "Your tickets for Metropolis"
    for body in (message.text, message.html):
        assert "1,024.00 EUR" in body
        assert "Your tickets, one for each seat, are in your booking." in body


def test_the_text_has_its_lines() -> None:
    assert "Berlin\nSeats: C12, C13\nTotal: 24.00 EUR\n\nYour" in render(notice(), "email").text
    assert "Seat: C12\n\nWould" in render(notice("lapse", seats=("C12",)), "email").text


def test_a_lapse_says_that_nothing_was_charged() -> None:
    message = render(notice("lapse"), "email")
    assert "Nothing was charged." in message.text
    assert "Nothing was charged." in message.html


def test_a_hold_that_staff_ended_is_not_said_to_have_run_out() -> None:
    for released in (True, False):
        told = notice("lapse", released=released)
        email, sms = render(told, "email"), render(told, "sms")
        for body in (email.text, email.html, sms.text):
            assert ("had to end your hold" in body) == released
            assert ("ran out" in body) != released


def test_a_late_confirmation_says_that_it_came_late() -> None:
    late, plain = (render(notice(came_late=late), "email") for late in (True, False))
    for body in (late.text, late.html):
        assert "came after the time to pay had run out" in body
    assert "had run out" not in plain.text + plain.html


def test_an_offer_tells_the_seats_the_sum_and_until_when() -> None:
    message = render(notice("offer"), "email")
    assert message.subject == "Your payment for Metropolis came late: choose by 18:45 CET"
    for body in (message.text, message.html):
        for fact in ("D4, D5", "24.00 EUR", "18:45 CET", "C12, C13", "all the same"):
            assert fact in body


def test_an_offer_that_has_ended_is_not_told() -> None:
    with pytest.raises(Refused):
        render(notice("offer", offer=offer(is_open=False)), "email")


def test_a_lapse_is_not_told_once_the_booking_stands_again() -> None:
    with pytest.raises(Refused):
        render(notice("lapse", booking_state="confirmed"), "email")


@pytest.mark.parametrize(
    ("reason", "subject", "told"),
    [
        (
            "late",
            "Your payment came too late and goes back",
            "arrived after the time to pay had run out",
        ),
        ("duplicate", "A second payment goes back to you", "had been paid already"),
        (
            "mismatch",
            "A payment of a wrong amount goes back to you",
            "was not the amount due",
        ),
        ("cancelled", "You had cancelled, and your payment goes back", "had been cancelled"),
        ("requested", "Your refund has been sent", "the refund you asked for"),
        ("goodwill", "A refund has been sent to you", "a refund from the theatre"),
        (
            "a reason of later days",
            "Your money is on its way back",
            "could not use this payment",
        ),
    ],
)
def test_a_refund_tells_how_much_and_why(reason: str, subject: str, told: str) -> None:
    message = render(notice("refund", refunds=(refund(reason),)), "email")
    assert message.subject == f"{subject}: 24.00 EUR"
    for body in (message.text, message.html):
        assert "24.00 EUR" in body
        assert told in body


def test_a_refund_that_was_asked_for_is_told_from_its_request_to_its_end() -> None:
    asked = RefundLine(Money(1200, "EUR"), "requested", asked=True, seats=("C12",))
    for template, told in (
        ("refund_accepted", "You have given up seat C12."),
        ("refund", "12.00 EUR has been sent back to you."),
        ("refund_failed", "A person looks at it within 24 hours."),
    ):
        message = render(notice(template, refunds=(asked,), seats=("C13",)), "email")
        assert told in " ".join(message.text.split())
        assert "12.00 EUR" in message.subject
        assert "12.00 EUR" in message.html


@pytest.mark.parametrize(
    ("lapse", "told"),
    [
        (None, "Nothing was charged."),
        ("unpaid", "We received no payment from you. Nothing was charged."),
        ("uncertain", "if it comes, it goes back whole"),
        ("refunding", "it goes back whole, as another message tells"),
    ],
)
def test_a_lapse_never_says_more_of_the_payment_than_is_known(lapse: str | None, told: str) -> None:
    message = render(notice("lapse", lapse=lapse), "email")
    for body in (message.text, message.html):
        assert told in body
        assert ("Nothing was charged" in body) == (lapse in (None, "unpaid"))


def test_a_failed_payment_says_how_long_the_seats_are_held() -> None:
    until = datetime(2026, 12, 4, 17, 5, tzinfo=UTC)
    held = render(notice("payment_failed", booking_state="held", held_until=until), "email")
    over = render(notice("payment_failed", booking_state="expired"), "email")
    for body in (held.text, held.html):
        assert "18:05 CET" in body
    assert "not held any more" in over.text


def test_a_charge_back_says_what_was_taken_and_that_the_tickets_are_void() -> None:
    message = render(notice("charged_back", taken_back=Money(1200, "EUR")), "email")
    for body in (message.text, message.html):
        assert "12.00 EUR" in body
        assert "tickets are not valid any more" in body


@pytest.mark.parametrize(("state", "stands"), [("confirmed", True), ("expired", False)])
def test_a_refund_says_whether_the_booking_stands(state: str, stands: bool) -> None:
    message = render(notice("refund", booking_state=state), "email")
    assert ("your tickets stay valid" in message.text) == stands
    assert ("your tickets stay valid" in message.html) == stands


@pytest.mark.parametrize(("state", "stands"), [("confirmed", True), ("expired", False)])
def test_money_that_was_let_go_is_told_as_never_taken(state: str, stands: bool) -> None:
    let_go = notice("void", voids=(refund("duplicate"),), booking_state=state)
    for message in (render(let_go, "email"), render(let_go, "sms")):
        assert "24.00 EUR" in message.text
        assert "This booking had been paid already." in message.text
        assert ("Your tickets stay valid" in message.text.replace("your t", "Your t")) is stands
    with pytest.raises(Refused, match="let go"):
        render(notice("void", voids=()), "email")


def test_a_refund_mail_without_a_refund_is_refused() -> None:
    with pytest.raises(Refused, match="no refund"):
        render(notice("refund", refunds=()), "email")


@pytest.mark.parametrize("change", [{"template": "unheard_of"}, {"timezone": "Mars/Olympus"}])
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_what_cannot_be_rendered_is_refused(change: dict[str, str], channel: str) -> None:
    with pytest.raises(Refused, match="cannot be rendered"):
        render(notice(**change), channel)


@pytest.mark.parametrize(
    ("timezone", "told"),
    [
        ("Europe/Berlin", "Friday, 4 December 2026, 19:30 CET"),
        ("America/New_York", "Friday, 4 December 2026, 13:30 EST"),
        ("Asia/Tokyo", "Saturday, 5 December 2026, 03:30 JST"),
        ("America/Sao_Paulo", "Friday, 4 December 2026, 15:30 -03"),
    ],
)
def test_times_are_the_theatres_own(timezone: str, told: str) -> None:
    assert (
        f"{told} (time at the theatre, {timezone})"
        in render(notice(timezone=timezone), "email").text
    )


def test_daylight_saving_time_is_heeded() -> None:
    summer = datetime(2026, 7, 3, 18, 30, tzinfo=UTC)
    assert "3 July 2026, 20:30 CEST" in render(notice(starts_at=summer), "email").text


@pytest.mark.parametrize("template", TEMPLATES)
def test_html_in_names_and_titles_is_shown_not_obeyed(template: str) -> None:
    nasty = "<script>alert(1)</script>"
    fields = dict.fromkeys(("name", "movie", "theatre", "city", "address", "auditorium"), nasty)
    message = render(notice(template, **fields), "email")
    assert "<script" not in message.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in message.html
    assert nasty in message.text


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_name_is_not_a_template(template: str, channel: str) -> None:
    message = render(notice(template, name="{{ 7*7 }}", movie="{movie}{{ 7*7 }}"), channel)
    assert "49" not in message.subject + message.text + message.html
    assert "{{ 7*7 }}" in message.text


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\x00"])
def test_no_title_adds_a_line(break_: str) -> None:
    message = render(notice(movie=f"A{break_}Bcc: eve@example.test"), "email")
    assert message.subject.startswith("Your tickets for A")
    assert len(message.subject.splitlines()) == 1
    assert break_ not in message.subject


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_sms_is_one_short_line(template: str) -> None:
    seats = tuple(f"C{number}" for number in range(1, 11))
    told = notice(template, movie="The " + "very " * 30 + "long film", seats=seats)
    message = render(told, "sms")
    assert message.html == ""
    assert len(message.text.splitlines()) == 1
    assert len(message.text) <= 160
    assert "..." in message.text


@pytest.mark.parametrize(
    ("money", "told"),
    [
        (Money(2400, "EUR"), "24.00 EUR"),
        (Money(5, "EUR"), "0.05 EUR"),
        (Money(0, "USD"), "0.00 USD"),
        (Money(3000, "JPY"), "3,000 JPY"),
        (Money(1234567, "KWD"), "1,234.567 KWD"),
        (Money(-150, "GBP"), "-1.50 GBP"),
    ],
)
def test_money_has_the_digits_of_its_currency(money: Money, told: str) -> None:
    assert format_money(money) == told
