"""What the owner of an account is told: mailed tokens, and changes that a thief would make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

# The messages that carry a token, and what their token is good for.
PURPOSES = {"verify_email": "verify_email", "reset_password": "reset_password"}


@dataclass(frozen=True, slots=True)
class AccountNotice:
    """What a template may say, read when the message is sent.

    ``email`` is None once the account is erased. ``token``: None when the message carries none,
    or when it is used or over by now; ``minutes`` it is good for. ``at``: when it was queued.
    """

    reference: UUID
    template: str
    revision: int
    name: str
    email: str | None
    at: datetime
    token: str | None = None
    minutes: int | None = None
    phone: str | None = None

    @property
    def key(self) -> str:
        """The message's name, the same for every try."""
        return f"{self.reference}-{self.template}-{self.revision}"

    @property
    def about(self) -> dict[str, str]:
        """What a log line names it by."""
        return {"reference": str(self.reference)}

    def is_wanted(self, channel: str) -> bool:
        """Always: they guard the account."""
        return True
