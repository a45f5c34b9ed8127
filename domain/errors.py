"""The error tree. Every error has a stable ``code``; ``api/errors.py`` maps codes to statuses.

SeatholdError
├── Invalid        the request can never work as written       422
├── NotFound       no such thing, or not yours to see          404
├── Unauthenticated                                            401
├── Forbidden                                                  403
├── Conflict       the state does not allow it                 409
│   └── StillPending  the reserve has no outcome yet; ask again
├── Gone           the hold is over                            410
├── PaymentRequired                                            402
└── Unavailable    a dependency is away; try again             503
    └── BalanceTooLow  the provider cannot pay this refund yet
"""

from __future__ import annotations

from typing import Any, ClassVar


class SeatholdError(Exception):
    """A refusal with a stable name.

    Args:
        detail: one sentence that says what is wrong and how to mend it.
        retry_after: where the same wish may be granted later, the seconds to wait.
        code: the stable snake_case name; the class has a default.
        **data: extra members of the problem document, JSON-ready.
    """

    default_code: ClassVar[str] = "error"

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after: int | None = None, **data: Any
    ) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.detail = detail
        self.code = code or self.default_code
        self.data = data


class Invalid(SeatholdError):
    default_code = "invalid"


class NotFound(SeatholdError):
    default_code = "not_found"


class Unauthenticated(SeatholdError):
    default_code = "unauthenticated"


class Forbidden(SeatholdError):
    default_code = "forbidden"


class Conflict(SeatholdError):
    default_code = "invalid_state"


class StillPending(Conflict):
    """The booking's reserve has no outcome yet."""

    def __init__(self) -> None:
        super().__init__("The reserve has no outcome yet; ask again in a moment.", retry_after=2)


class Gone(SeatholdError):
    default_code = "hold_expired"


class PaymentRequired(SeatholdError):
    default_code = "payment_required"


class Unavailable(SeatholdError):
    """A dependency is away."""

    default_code = "unavailable"

    def __init__(self, detail: str, *, retry_after: int = 2, **data: Any) -> None:
        super().__init__(detail, retry_after=retry_after, **data)


class BalanceTooLow(Unavailable):
    """The provider's clear word that it has not enough of our money to give any back.

    Nothing was moved, and the same wish may be granted later: it waits, it has not failed.
    """

    default_code = "insufficient_balance"
