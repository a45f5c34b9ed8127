"""Offers of other seats for late money, and what late money is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.booking import Booking, SeatPrice
from domain.offer import Offer, OfferState
from domain.seatmap import Seat
from infra.postgres.database import Session
from infra.postgres.show import SALE_ENDS, SALE_IS_OPEN
from services.offer import LateContext

CONTEXT = text(f"""
SELECT shows.status = 'on_sale' AS on_sale,
    {SALE_IS_OPEN} AS sales_open,
    {SALE_ENDS} AS sales_close_at, offers_seats,
    (
        SELECT coalesce(sum(seat_count), 0) FROM bookings
        WHERE user_id = :user_id AND show_id = :show_id AND id <> :booking_id
          AND state IN ('held', 'expiring', 'cancelling', 'confirmed', 'refund_pending',
                        'disputed')
          AND NOT (state = 'held' AND lapses AND hold_expires_at <= clock_timestamp())
    ) AS seats_of_user,
    EXISTS (
        SELECT 1 FROM provider_payments
        WHERE booking_id = :booking_id AND id <> :receipt_id AND decision IN ('confirms', 'late')
    ) AS decided_before,
    (
        SELECT provider_payment_id FROM seat_offers
        WHERE booking_id = :booking_id AND state = 'open'
    ) AS offered_for
FROM shows WHERE shows.id = :show_id
""")  # noqa: S608  # nosec B608

LOST_SEATS = text("""
SELECT label, price_class, ticket_type, amount FROM booking_seats
WHERE booking_id = :booking_id ORDER BY label
""")

HALL = text("""
SELECT seats.label, section, row, number, position, x, y, price_class, attributes,
       coalesce(claim.state, 'free') <> 'free' AS is_taken
FROM shows JOIN seats ON seats.seat_map_id = shows.seat_map_id
LEFT JOIN seat_claims AS claim ON claim.show_id = :show_id AND claim.label = seats.label
WHERE shows.id = :show_id ORDER BY position
""")

ADD = text("""
INSERT INTO seat_offers (provider_payment_id, booking_id, state, seats, expires_at)
VALUES (:receipt_id, :booking_id, 'open', CAST(:seats AS jsonb), :expires_at)
""")
FIND = text("""
SELECT *, clock_timestamp() AS now FROM seat_offers WHERE provider_payment_id = :receipt_id
""")
OF_BOOKING = text("""
SELECT *, clock_timestamp() AS now FROM seat_offers
WHERE booking_id = :booking_id ORDER BY created_at DESC LIMIT 1
""")
END = text("""
UPDATE seat_offers SET state = :state, ended_at = clock_timestamp()
WHERE provider_payment_id = :receipt_id AND state = 'open'
""")
UNSEAT = text("DELETE FROM booking_seats WHERE booking_id = :booking_id")
SEAT = text("""
INSERT INTO booking_seats (booking_id, label, price_class, ticket_type, amount)
SELECT :booking_id, * FROM unnest(CAST(:labels AS text[]), CAST(:classes AS text[]),
                                  CAST(:types AS text[]), CAST(:amounts AS bigint[]))
""")


class PostgresOffers:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def context(self, booking: Booking, receipt_id: UUID) -> LateContext:
        row = await self._session.one(
            CONTEXT,
            booking_id=booking.id,
            user_id=booking.user_id,
            show_id=booking.show_id,
            receipt_id=receipt_id,
        )
        assert row is not None, "a booking's show is never deleted"
        return LateContext(**row._asdict())

    async def lost_seats(self, booking_id: UUID) -> list[SeatPrice]:
        found = await self._session.all(LOST_SEATS, booking_id=booking_id)
        return [SeatPrice(**row._asdict()) for row in found]

    async def hall(self, show_id: UUID) -> tuple[list[Seat], set[str]]:
        seats, taken = [], set()
        for row in await self._session.all(HALL, show_id=show_id):
            told = row._asdict()
            if told.pop("is_taken"):
                taken.add(row.label)
            seats.append(Seat(**told))
        return seats, taken

    def add(self, offer: Offer) -> None:
        self._session.later(
            ADD,
            changes=1,
            receipt_id=offer.provider_payment_id,
            booking_id=offer.booking_id,
            seats=orjson.dumps(as_rows(offer)).decode(),
            expires_at=offer.expires_at,
        )

    async def find(self, receipt_id: UUID) -> Offer | None:
        return _offer(await self._session.one(FIND, receipt_id=receipt_id))

    async def of_booking(self, booking_id: UUID) -> Offer | None:
        return _offer(await self._session.one(OF_BOOKING, booking_id=booking_id))

    def end(self, receipt_id: UUID, state: OfferState) -> None:
        self._session.later(END, changes=1, receipt_id=receipt_id, state=state)

    def reseat(self, booking_id: UUID, seats: Sequence[SeatPrice]) -> None:
        self._session.later(UNSEAT, changes=len(seats), booking_id=booking_id)
        self._session.later(
            SEAT,
            changes=len(seats),
            booking_id=booking_id,
            labels=[seat.label for seat in seats],
            classes=[seat.price_class for seat in seats],
            types=[seat.ticket_type for seat in seats],
            amounts=[seat.amount for seat in seats],
        )


def as_rows(offer: Offer) -> list[dict[str, Any]]:
    return [
        {
            "label": seat.label,
            "price_class": seat.price_class,
            "ticket_type": seat.ticket_type,
            "amount": seat.amount,
            "fence": fence,
        }
        for seat, fence in zip(offer.seats, offer.fences, strict=True)
    ]


def _offer(row: Any) -> Offer | None:
    if row is None:
        return None
    return Offer(
        provider_payment_id=row.provider_payment_id,
        booking_id=row.booking_id,
        state=OfferState(row.state),
        seats=tuple(
            SeatPrice(seat["label"], seat["price_class"], seat["ticket_type"], seat["amount"])
            for seat in row.seats
        ),
        fences=tuple(seat["fence"] for seat in row.seats),
        expires_at=row.expires_at,
        now=row.now,
    )
