"""The money mutants: each a bug that other shops have had, as exact replacements in our code."""

from __future__ import annotations

from dataclasses import dataclass

PATHS = "tests/workflows/test_booking_paths.py"
FAULTS = "tests/workflows/test_fault_matrix.py"
WEBHOOKS = "tests/api/booking/test_webhooks.py"
TAKEOVER = "tests/race/test_takeover.py"
GATEWAY = "tests/ports/test_gateway.py"
KEYS = "tests/ports/test_refund_keys.py"
DISPUTES = "tests/workflows/test_disputes.py"
CLOSING = "tests/integration/test_paid_while_closing.py"
ORDER = "tests/integration/infra/test_payment_order.py"
RETRIES = "tests/workflows/test_refund_retries.py"
BY_HAND = "tests/workflows/test_refunds_by_hand.py"
OUTCOMES = "tests/race/test_reserve_outcomes.py"
UNKNOWN = "tests/workflows/test_unknown_at_provider.py"
IN_FLIGHT = "tests/workflows/test_disputed_in_flight.py"
RECONCILED = "tests/workflows/test_reconcile_disputes.py"


@dataclass(frozen=True)
class Edit:
    """Replace ``old`` by ``new`` in ``path``: a file, or the one Python file of a folder."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One bug. At least one of ``tests`` (pytest's node ids) must fail with it."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


# Whoever has the seats: the label decides, and not the booking.
OWNED = "SELECT show_id, label FROM seat_claims WHERE booking_id = :booking_id AND state = 'held'"
UNOWNED = """SELECT show_id, label FROM seat_claims
    WHERE state = 'held' AND (show_id, label) IN (
        SELECT bookings.show_id, asked.label FROM bookings
        JOIN booking_seats AS asked ON asked.booking_id = bookings.id
        WHERE bookings.id = :booking_id)"""

MUTANTS = (
    Mutant(
        "release-before-provider-cancel",
        (
            Edit(
                "services/booking.py",
                "        return _start_closing(tx, booking, step)\n    if",
                "        await tx.claims.free(booking.id, count=booking.seat_count)\n"
                "        return _start_closing(tx, booking, step)\n    if",
            ),
        ),
        (f"{PATHS}::test_seats_stay_held_until_the_provider_has_closed_the_page",),
    ),
    Mutant(
        "free-seats-over-money-nobody-heard-of",
        (
            Edit(
                "services/booking.py",
                "    if (unjudged := await tx.payments.unjudged(booking.id)) is not None:\n",
                "    if (unjudged := None) is not None:\n",
            ),
        ),
        (f"{CLOSING}::test_a_paid_booking_is_confirmed_by_its_closing",),
    ),
    Mutant(
        "ack-before-inbox-commit",
        (
            Edit(
                "api/commands/webhooks.py",
                "    await state.inbox.store(",
                "    import asyncio\n\n"
                "    (lambda event: asyncio.ensure_future(state.inbox.store(event)))(",
            ),
        ),
        (f"{WEBHOOKS}::test_one_that_cannot_be_stored_is_not_acknowledged",),
    ),
    Mutant(
        "dedupe-in-redis-only",
        (
            Edit(
                "api/commands/webhooks.py",
                "    await state.inbox.store(",
                "    mark = f'webhook:{provider}:{event.event_id}'\n"
                "    if not await state.redis.set(mark, 1, nx=True, ex=300):\n"
                "        return Response(status_code=204)\n"
                "    await state.inbox.store(",
            ),
            Edit(
                "infra/postgres/inbox.py",
                "text[])\n)\nON CONFLICT (provider, event_id) DO NOTHING\n",
                "text[])\n)\n",
            ),
            # The constraint would stop the second row even so.
            Edit(
                "migrations/versions/0001_spine.py",
                "        sa.UniqueConstraint(\n"
                '            "provider", "event_id", '
                'name=op.f("webhook_inbox_provider_event_id_key")\n        ),\n',
                "",
            ),
        ),
        (
            f"{WEBHOOKS}::test_stored_once_however_often_it_comes",
            f"{WEBHOOKS}::test_stored_once_even_if_redis_forgets_everything",
        ),
    ),
    Mutant(
        "skip-amount-check",
        (Edit("domain", "if paid != expected:", "if paid.currency != expected.currency:"),),
        (f"{PATHS}::test_a_wrong_amount_or_currency_never_confirms",),
    ),
    Mutant(
        "skip-currency-check",
        (Edit("domain", "if paid != expected:", "if paid.amount != expected.amount:"),),
        (f"{PATHS}::test_a_wrong_amount_or_currency_never_confirms",),
    ),
    Mutant(
        "refund-without-idempotency-key",
        (
            Edit(
                "infra/gateways/sandbox.py",
                '"/v1/refunds", key=key, body=body)',
                '"/v1/refunds", body=body)',
            ),
        ),
        (f"{GATEWAY}::test_the_same_key_refunds_once",),
    ),
    Mutant(
        "stripe-refund-without-idempotency-key",
        (
            Edit(
                "infra/gateways/stripe.py",
                'self._refunds.create_async(wish, {"idempotency_key": used})',
                "self._refunds.create_async(wish)",
            ),
        ),
        (f"{KEYS}::test_stripe_is_given_the_refunds_key",),
    ),
    Mutant(
        "refund-with-a-key-of-its-try",
        (
            Edit(
                "services/provider.py",
                "key=refund.idempotency_key",
                "key=str(__import__('uuid').uuid4())",
            ),
        ),
        (f"{FAULTS}::test_a_refund_whose_answer_was_lost_is_found_by_its_key",),
    ),
    Mutant(
        "refund-while-disputed",
        (
            Edit(
                "services/provider.py",
                "is_disputed = receipt is not None and receipt.disputed\n",
                "is_disputed = receipt is not None and receipt.disputed is None\n",
            ),
        ),
        (f"{DISPUTES}::test_a_dispute_of_money_that_bought_no_seat",),
    ),
    Mutant(
        "the-last-delivery-wins",
        (
            Edit(
                "infra/postgres/payment.py",
                'f" status = CASE WHEN {IS_LATER} THEN excluded.status ELSE known.status END,"',
                '" status = excluded.status,"',
            ),
            Edit(
                "infra/postgres/payment.py",
                'f" WHERE {IS_LATER} OR known.captured < excluded.captured"',
                '" WHERE known.status <> excluded.status OR known.captured < excluded.captured"',
            ),
        ),
        (f"{ORDER}::test_the_same_facts_in_any_order_leave_the_same_row",),
    ),
    Mutant(
        "dispute-is-no-to-a-refund-that-was-sent",
        (
            Edit(
                "services/refund_sending.py",
                "                answer = await _sent_before(gateway, part)\n",
                "                raise payment_disputed()\n",
            ),
        ),
        (f"{RETRIES}::test_a_refund_that_was_paid_is_not_withdrawn_by_a_dispute",),
    ),
    Mutant(
        "lost-dispute-ends-a-refund-in-flight",
        (
            Edit(
                "services/dispute.py",
                "if is_due and any(one.in_flight for one in own):",
                "if is_due and not own:",
            ),
        ),
        (f"{IN_FLIGHT}::test_a_refund_in_flight_ends_at_the_bank_first",),
    ),
    Mutant(
        "not-found-is-no-to-a-refund",
        (
            Edit(
                "services/provider.py",
                'raise Unavailable("The provider does not tell of a payment of ours.") from error',
                'return ProviderRefund("", "failed")',
            ),
        ),
        (f"{UNKNOWN}::test_late_money_that_was_sent_unheard_gets_no_new_key_from_another_account",),
    ),
    Mutant(
        "disputes-by-webhook-alone",
        (
            Edit(
                "domain/reconcile.py",
                "if any(_is_further(one, known.get(one.reference)) for one in theirs.disputes):",
                "if not known and ours.disputes:",
            ),
        ),
        (f"{RECONCILED}::test_one_that_nobody_heard_of_is_recorded_as_by_its_webhook",),
    ),
    Mutant(
        "unasked-by-an-older-list",
        (
            Edit(
                "infra/postgres/payment.py",
                "WHERE id = :id AND updated_at = :seen",
                "WHERE id = :id AND (updated_at = :seen OR true)",
            ),
        ),
        (f"{BY_HAND}::test_a_list_that_is_older_than_the_news_lowers_nothing",),
    ),
    Mutant(
        "undo-looks-for-a-hold-once",
        (
            Edit(
                "services/booking.py",
                "    return await tx.bookings.lock(UUID(step.booking_id))\n",
                "    return None\n",
            ),
        ),
        (f"{OUTCOMES}::test_the_undo_of_a_hold_ends_the_hold_that_was_just_being_committed",),
    ),
    Mutant(
        "grace-by-our-rows-alone",
        (
            Edit(
                "services/booking.py",
                "if known or step.is_settling else",
                "if known else",
            ),
        ),
        (f"{PATHS}::test_money_that_settles_after_the_ordinary_grace_still_confirms",),
    ),
    Mutant(
        "outbox-row-outside-the-transaction",
        (
            Edit(
                "infra/postgres/uow.py",
                "        async with self._database.transaction() as session:\n"
                "            yield PostgresTransaction(session, self._first_poll)\n",
                "        begin = self._database.transaction\n"
                # The last to be opened is the first to commit: the row comes after the state.
                "        async with begin() as beside, begin() as session:\n"
                "            tx = PostgresTransaction(session, self._first_poll)\n"
                "            tx.outbox = PostgresOutbox(beside)\n"
                "            yield tx\n",
            ),
        ),
        (f"{PATHS}::test_a_notification_is_of_one_transaction_with_what_it_tells",),
    ),
    Mutant(
        "confirm-reads-the-cache",
        (
            Edit(
                "activities/booking.py",
                "                outcome = await payment.confirm(tx, request)\n",
                "                id = UUID(request.booking_id)\n"
                "                show_id, labels = await tx.bookings.seats(id)\n"
                "                ours = await tx.bookings.lock(id)\n"
                "                marks = await self._preclaims.taken(show_id, labels)\n"
                "                if marks == set(labels) and ours.state is BookingState.HELD:\n"
                "                    outcome = payment.confirm_by(tx, ours, None, None)\n"
                "                else:\n"
                "                    outcome = await payment.confirm(tx, request)\n",
            ),
        ),
        (f"{PATHS}::test_a_hand_sent_signal_confirms_nothing",),
    ),
    Mutant(
        "no-owner-guard-in-release",
        (
            Edit(
                "infra/postgres/seat.py",
                f'FREE = text("""\nWITH mine AS MATERIALIZED (\n    {OWNED}',
                f'FREE = text("""\nWITH mine AS MATERIALIZED (\n    {UNOWNED}',
            ),
        ),
        (f"{TAKEOVER}::test_who_lost_its_seats_cannot_free_them",),
    ),
    Mutant(
        "no-owner-guard-in-sale",
        (
            Edit(
                "infra/postgres/seat.py",
                f'SELL = text("""\nWITH mine AS MATERIALIZED (\n    {OWNED}',
                f'SELL = text("""\nWITH mine AS MATERIALIZED (\n    {UNOWNED}',
            ),
        ),
        (f"{TAKEOVER}::test_who_lost_its_seats_cannot_sell_them",),
    ),
)
