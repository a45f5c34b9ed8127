"""Reserve: turn losers away before Temporal hears of them, then start the booking and wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from domain.booking import BookingState
from domain.errors import Conflict, Invalid, SeatholdError, Unauthenticated, Unavailable
from domain.steps import BookingInput, HoldOutcome, SeatChoice
from services.ports import RequestOutcome, UnitOfWork
from services.preclaim import ActiveClaim, Lost, NotLoaded, PreclaimsAway, SeatPreclaims, Won
from services.process import BookingProcess, ProcessAway, ProcessOver, ProcessUnknown

INVALID = frozenset({"unknown_seat", "too_many_seats", "duplicate_seat"})


class KeyOver(Unavailable):
    """The id is of a request whose Idempotency-Key is over: take the key's next number."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used more than a day ago; try again.")


class Reserver:
    """The winner's path from a pre-claim to a held booking.

    An unknown outcome never releases a pre-claim: its lease ends by itself, or the hold step
    makes it last.
    """

    def __init__(
        self, begin: UnitOfWork, preclaims: SeatPreclaims, process: BookingProcess
    ) -> None:
        self._begin = begin
        self._preclaims = preclaims
        self._process = process

    async def reserve(
        self, input: BookingInput, *, key_hash: bytes | None, body_hash: bytes
    ) -> BookingState:
        """Hold the seats: ``held``, a later state of a repeat's booking, or ``pending``.

        Raises:
            Conflict: ``seats_unavailable`` (with ``seats``), ``limit_reached``, ``sales_closed``.
            Invalid: ``unknown_seat``.
            Unauthenticated: the account was erased meanwhile.
            Unavailable: nothing was held; try again. KeyOver: under another id.
        """
        won = await self._preclaim(input)
        async with self._begin.alone() as tx:
            known = await tx.bookings.add_request(input, key_hash=key_hash, body_hash=body_hash)
        if known.key_is_over:
            await self._correct(input, won)
            raise KeyOver
        if known.seats and known.seats != input.seats:
            # Under one key two requests chose at the same time: the seats written down count.
            await self._give_back(input, None, None, but=known.seats)
            input, won = replace(input, seats=list(known.seats)), None
        if known.outcome is not None:
            return await self._known(input, won, known)
        try:
            outcome = await self._process.reserve(input)
        except ProcessUnknown:
            return BookingState.PENDING
        except ProcessAway:
            refusal = {"code": "unavailable", "detail": "Booking is not possible just now."}
            return await self._withdraw(input, won, refusal)
        except ProcessOver:
            async with self._begin.alone() as tx:
                known = await tx.bookings.request_outcome(UUID(input.booking_id))
            return await self._known(input, won, known)
        if outcome.state is BookingState.REJECTED:
            await self._give_back(input, won, outcome.code)
            raise refusal_of(outcome)
        return outcome.state

    async def earlier(self, booking_ids: Sequence[UUID]) -> Mapping[UUID, RequestOutcome]:
        """What was asked for before under these ids, and what came of it."""
        async with self._begin.alone() as tx:
            return await tx.bookings.requests(booking_ids)

    async def resume(
        self, input: BookingInput, earlier: RequestOutcome, *, body_hash: bytes
    ) -> BookingState:
        """Go on with a request that was written down, with its own seats; else as ``reserve``.

        Refused, it is refused for good: what is still on its way for it can hold nothing.
        """
        if earlier.outcome is not None:
            return _settled(earlier)
        try:
            return await self.reserve(input, key_hash=None, body_hash=body_hash)
        except Conflict as refused:
            refusal = {"code": refused.code, "detail": refused.detail, **refused.data}
            return await self._withdraw(input, None, refusal)

    async def taken(self, show_id: UUID, labels: Sequence[str]) -> set[str]:
        """Which labels are not available, by Redis, or by PostgreSQL when Redis is away."""
        try:
            for _ in range(2):
                found = await self._preclaims.taken(show_id, labels)
                if not isinstance(found, NotLoaded):
                    return found
                await self._load(show_id)
        except PreclaimsAway:
            pass
        return {claim.label for claim in await self._active(show_id, None)}

    async def _preclaim(self, input: BookingInput) -> Won | None:
        """Win the seats in Redis; ``None`` when PostgreSQL had to be asked instead."""
        show_id, token = UUID(input.show_id), UUID(input.booking_id)
        labels = [seat.label for seat in input.seats]
        try:
            for _ in range(2):
                answer = await self._preclaims.claim(show_id, labels, token)
                if isinstance(answer, Won):
                    return answer
                if isinstance(answer, Lost):
                    raise seats_unavailable(answer.labels)
                await self._load(show_id)
        except PreclaimsAway:
            pass
        others = [
            claim.label
            for claim in await self._active(show_id, labels)
            if claim.booking_id != token
        ]
        if others:
            raise seats_unavailable(others)
        return None

    async def _load(self, show_id: UUID) -> None:
        await self._preclaims.load(show_id, lambda labels: self._active(show_id, labels))

    async def _active(self, show_id: UUID, labels: Sequence[str] | None) -> list[ActiveClaim]:
        async with self._begin.alone() as tx:
            return await tx.claims.active(show_id, labels)

    async def _known(
        self, input: BookingInput, won: Won | None, known: RequestOutcome
    ) -> BookingState:
        """A repeat meets the outcome of the first try."""
        try:
            standing = _settled(known)
        except SeatholdError as refused:
            await self._give_back(input, won, refused.code)
            raise
        if standing is BookingState.HELD:
            await self._correct(input, won)
        return standing

    async def _withdraw(
        self, input: BookingInput, won: Won | None, refusal: Mapping[str, Any]
    ) -> BookingState:
        """Write the refusal first, so that no straggler can hold the seats."""
        async with self._begin() as tx:
            tx.bookings.reject_request(UUID(input.booking_id), refusal)
            known = await tx.bookings.request_outcome(UUID(input.booking_id))
        return await self._known(input, won, known)

    async def _give_back(
        self,
        input: BookingInput,
        won: Won | None,
        code: str | None,
        but: Sequence[SeatChoice] = (),
    ) -> None:
        """Correct Redis after a refusal: by what PostgreSQL says, or by letting go."""
        if won is not None and code == "seats_unavailable":
            await self._correct(input, won)
            return
        kept = {seat.label for seat in but}
        labels = [seat.label for seat in input.seats if seat.label not in kept]
        try:
            await self._preclaims.release(UUID(input.show_id), labels, UUID(input.booking_id))
        except PreclaimsAway:
            return

    async def _correct(self, input: BookingInput, won: Won | None) -> None:
        """Put what PostgreSQL says in place of a pre-claim: the seats may be another's, or free."""
        if won is None:
            return
        show_id = UUID(input.show_id)
        try:
            await self._preclaims.write_back(show_id, won, await self._active(show_id, won.labels))
        except PreclaimsAway:
            return


def seats_unavailable(labels: Sequence[str]) -> Conflict:
    verb = "is" if len(labels) == 1 else "are"
    return Conflict(
        f"{', '.join(labels)} {verb} taken; choose other seats.",
        code="seats_unavailable",
        seats=list(labels),
    )


def _settled(known: RequestOutcome) -> BookingState:
    """The outcome that is written down, or its refusal raised."""
    if known.outcome == "rejected":
        data = dict(known.refusal or {})
        code, detail = str(data.pop("code", "unavailable")), str(data.pop("detail", ""))
        raise refusal_of(HoldOutcome(BookingState.REJECTED, 0.0, code, detail, data))
    return BookingState.HELD if known.outcome == "held" else BookingState.PENDING


def refusal_of(outcome: HoldOutcome) -> SeatholdError:
    """The error that a refusal is to a client."""
    code, detail = outcome.code or "unavailable", outcome.detail or "The seats are not held."
    if code == "unavailable":
        return Unavailable(detail)
    if code == Unauthenticated.default_code:
        return Unauthenticated(detail)
    if code in INVALID:
        return Invalid(detail, code=code, **outcome.data)
    return Conflict(detail, code=code, **outcome.data)
