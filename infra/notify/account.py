"""Messages about an account, from templates."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from infra.notify.render import one_line, page
from services.account_mail import PURPOSES, AccountNotice
from services.notification import Message, Refused, Render

SUBJECTS = {
    "verify_email": "Confirm your address",
    "reset_password": "Choose a new password",
    "password_changed": "Your password was changed",
    "second_factor_added": "Codes at log-in are on",
    "second_factor_removed": "Codes at log-in are off",
}
# By the purpose of the token, below the address of the account pages.
PAGES = {"verify_email": "verify", "reset_password": "reset"}


def account_render(account_url: str) -> Render[AccountNotice]:
    """Renders mails whose links lead to pages below ``account_url``."""

    def render(notice: AccountNotice, _: str) -> Message:
        try:
            values = _values(notice, account_url.rstrip("/"))
            return Message(
                subject=SUBJECTS[notice.template],
                text=page(f"{notice.template}.txt", values),
                html=page(f"{notice.template}.html", values),
            )
        except (TemplateError, KeyError) as error:
            raise Refused(f"cannot be rendered: {type(error).__name__}") from error

    return render


def _values(notice: AccountNotice, account_url: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": one_line(notice.name),
        "when": f"{notice.at:%A}, {notice.at.day} {notice.at:%B %Y, %H:%M} UTC",
    }
    purpose = PURPOSES.get(notice.template)
    if purpose is not None:
        if notice.token is None:
            raise Refused("its code is used or over")
        # After the "#": no server, proxy or log on the way is sent it.
        values["link"] = f"{account_url}/{PAGES[purpose]}#{notice.token}"
        values["token"] = notice.token
        values["minutes"] = notice.minutes
    return values
