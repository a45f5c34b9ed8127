"""What the buyers of a cancelled show are told."""

from __future__ import annotations

import pytest

from domain.money import Money
from infra.notify.render import render
from services.notification import Notice
from tests.mail.notices import notice, refund

NOTHING = "We keep none of your money"


def cancelled(**changes: object) -> Notice:
    return notice("show_cancelled", **changes)


def test_who_paid_hears_how_much_goes_back_and_where() -> None:
    message = render(
        cancelled(booking_state="refund_pending", refunds=(refund("show_cancelled"),)), "email"
    )
    assert message.subject == "Cancelled: Metropolis on Friday, 4 December 2026"
    for body in (message.text, message.html):
        assert "24.00 EUR" in body
        assert "to the card or account that you paid with" in body
        assert NOTHING not in body


def test_money_of_several_payments_is_told_as_one_sum() -> None:
    back = (refund("show_cancelled", 2000), refund("show_cancelled", 400))
    message = render(cancelled(booking_state="refund_pending", refunds=back), "email")
    assert "24.00 EUR in all goes back to you" in message.text


@pytest.mark.parametrize("state", ["held", "cancelling", "cancelled"])
def test_who_held_seats_hears_that_we_keep_nothing(state: str) -> None:
    for channel in ("email", "sms"):
        message = render(cancelled(booking_state=state), channel)
        assert NOTHING in message.text


def test_a_free_booking_is_not_promised_money() -> None:
    message = render(cancelled(booking_state="cancelled", total=Money(0, "EUR")), "email")
    assert "goes back to you, to the card" not in message.text


def test_a_refund_that_failed_meanwhile_is_still_owed() -> None:
    message = render(cancelled(booking_state="confirmed"), "email")
    assert "you will hear from us" in message.text
    assert NOTHING not in message.text


def test_the_refund_itself_says_why() -> None:
    message = render(notice("refund", refunds=(refund("show_cancelled"),)), "email")
    assert "The show was cancelled." in message.text
