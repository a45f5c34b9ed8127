"""Faults on demand: how the sink's SMTP server and SMS provider misbehave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seathold.standins.sandbox.answers import parse
from seathold.standins.sandbox.shapes import Shape

Times = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]
SmtpFault = Literal["ok", "421", "450", "550", "451", "554", "cut_after_data", "slow"]
SmsFault = Literal["ok", "500", "422", "hang"]

# At which step of a message each SMTP fault strikes.
STEP = {
    "421": "MAIL",
    "450": "RCPT",
    "550": "RCPT",
    "451": "DATA",
    "554": "DATA",
    "cut_after_data": "DATA",
    "slow": "DATA",
}


class Config(Shape):
    """The faults in force; what is not named stays as it is.

    smtp: ``421`` says so to MAIL and hangs up; ``450`` and ``550`` refuse the recipient; ``451``
        and ``554`` refuse the message, which is not kept; ``cut_after_data`` keeps it and hangs
        up unanswered; ``slow`` keeps it and answers after ``slow_ms``.
    sms: ``500`` and ``422`` refuse; ``hang`` keeps the message and answers after ``hang_ms``.
    smtp_times, sms_times: how many messages the fault meets before all is well again; null is
        without end.
    """

    smtp: SmtpFault = "ok"
    smtp_times: Times | None = None
    slow_ms: Milliseconds = 3_000
    sms: SmsFault = "ok"
    sms_times: Times | None = None
    hang_ms: Milliseconds = 60_000


class Faults:
    """The configuration in force; a restart forgets it."""

    def __init__(self) -> None:
        self.config = Config()

    def change(self, body: bytes) -> Config:
        """Set the fields that ``body`` names; a fault named without its times has no end.

        Raises:
            Refused: 400.
        """
        given = parse(Config, body)
        named = {name: getattr(given, name) for name in given.model_fields_set}
        for fault in {"smtp", "sms"} & named.keys():
            named.setdefault(f"{fault}_times", None)
        self.config = self.config.model_copy(update=named)
        return self.config

    def smtp(self, step: str) -> SmtpFault:
        """The fault that strikes a message at ``step``, counted; ``ok`` for none."""
        fault = self.config.smtp
        if STEP.get(fault) != step:
            return "ok"
        self._count("smtp", self.config.smtp_times)
        return fault

    def sms(self) -> SmsFault:
        """The fault that strikes the SMS at hand, counted; ``ok`` for none."""
        fault = self.config.sms
        self._count("sms", self.config.sms_times)
        return fault

    def _count(self, name: str, left: int | None) -> None:
        if left is None:
            return
        update = {f"{name}_times": left - 1} if left > 1 else {name: "ok", f"{name}_times": None}
        self.config = self.config.model_copy(update=update)
