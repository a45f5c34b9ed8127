"""N: notifications. One for each event, sent once or explained, to the owner, never untrue."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from seathold.checker.world import Row, World

# Each transition that tells its buyer, the event that says so, and the rows that will.
EXPECTED = """
WITH told AS (
    SELECT aggregate_id AS booking_id, CASE event_type
        WHEN 'BookingConfirmed' THEN 'confirmation'
        WHEN 'VoidRequested' THEN 'void'
        WHEN 'BookingCalledOff' THEN 'show_cancelled'
        WHEN 'SeatsOffered' THEN 'offer'
        WHEN 'RefundRequested' THEN 'refund' WHEN 'RefundSettled' THEN 'refund'
        WHEN 'RefundAccepted' THEN 'refund_accepted' WHEN 'RefundFailed' THEN 'refund_failed'
        WHEN 'PaymentFailed' THEN 'payment_failed' WHEN 'BookingChargedBack' THEN 'charged_back'
        ELSE 'lapse' END AS template, count(*) AS transitions
    FROM events
    WHERE event_type IN ('BookingConfirmed', 'BookingCalledOff', 'RefundRequested',
                         'RefundAccepted', 'RefundFailed', 'PaymentFailed', 'BookingChargedBack',
                         'VoidRequested', 'SeatsOffered')
       OR event_type = 'RefundSettled' AND payload ? 'number'
       OR event_type = 'BookingExpired' AND payload ->> 'why' IN ('lapsed', 'released')
    GROUP BY 1, 2
), queued AS (
    SELECT aggregate_id AS booking_id, payload ->> 'template' AS template, count(*) AS events
    FROM events WHERE event_type = 'NotificationQueued' GROUP BY 1, 2
), outbox AS (
    SELECT booking_id, template, count(DISTINCT revision) AS rows
    FROM notification_outbox WHERE booking_id IS NOT NULL GROUP BY 1, 2
)
SELECT booking_id, template, coalesce(transitions, 0) AS transitions,
       coalesce(events, 0) AS events, coalesce(rows, 0) AS rows
FROM told FULL JOIN queued USING (booking_id, template)
FULL JOIN outbox USING (booking_id, template)
WHERE transitions IS DISTINCT FROM events OR events IS DISTINCT FROM rows
"""
OUTBOX = """
SELECT coalesce(booking_id, reference)::text AS booking_id, template, revision, channel,
       notice.state, ambiguous_attempts AS ambiguous,
       coalesce(sent_at < %(began)s, false) AS was_sent,
       users.email, users.phone, users.erased_at IS NOT NULL AS erased
FROM notification_outbox AS notice LEFT JOIN bookings ON bookings.id = booking_id
JOIN users ON users.id = coalesce(bookings.user_id, notice.user_id)
"""
CONFIRMED = """
SELECT aggregate_id::text AS id, min(created_at) AS at FROM events
WHERE event_type = 'BookingConfirmed' GROUP BY aggregate_id
"""

KEY = re.compile(r"<?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-([a-z_]+)-(\d+)\b")
Key = tuple[str, str, int, str]


def n1(world: World) -> Iterator[str]:
    """N1 One notification in the outbox for each transition that tells its buyer."""
    yield from world.missing_index(
        "notification_outbox", "booking_id", "template", "revision", "channel"
    )
    yield from world.found(
        EXPECTED,
        "booking {booking_id} has {transitions} transitions, {events} events and {rows} outbox"
        " rows for {template}",
    )


def n2(world: World) -> Iterator[str]:
    """N2 Exactly once or explained: no notification was lost, or sent twice without a reason."""
    counts: Counter[Key] = Counter()
    for mail in world.mails:
        key = key_of(mail)
        if key is None:
            yield f"message {mail['id']} names no notification"
        else:
            counts[key] += 1
    for row in _outbox(world):
        count = counts.pop(_row_key(row), 0)
        over = row["state"] in ("failed", "suppressed")
        if count > row["ambiguous"] + (not over):
            yield f"{_name(row)} arrived {count} times; {row['ambiguous']} attempts were ambiguous"
        elif count == 0 and row["state"] == "sent" and row["was_sent"]:
            yield f"{_name(row)} is sent and never arrived"
    for stray, count in counts.items():
        yield f"{stray} arrived {count} times and is not in the outbox"


def n3(world: World) -> Iterator[str]:
    """N3 No confirmation goes out for a booking that was not confirmed by then."""
    told = [
        (mail, key[0])
        for mail in world.mails
        if (key := key_of(mail)) is not None and key[1] == "confirmation"
    ]
    wanted = {booking for _, booking in told}
    rows = world.each(CONFIRMED)
    confirmed = {row["id"]: row["at"] for row in rows if row["id"] in wanted}
    for mail, booking in told:
        at = confirmed.get(booking)
        if at is None:
            yield f"message {mail['id']} confirms booking {booking}, which never was"
        elif datetime.fromisoformat(mail["received_at"]) < at:
            yield f"message {mail['id']} confirms booking {booking} before {at}"


def n4(world: World) -> Iterator[str]:
    """N4 A notification goes to the booking's owner."""
    wanted = {key_of(mail) for mail in world.mails}
    owners = {key: row for row in _outbox(world) if (key := _row_key(row)) in wanted}
    for mail in world.mails:
        row = owners.get(key_of(mail) or ("", "", 0, ""))
        if row is None or row["erased"]:
            continue  # whose address it was is known to nobody any more
        owner = row["email"] if row["channel"] == "email" else row["phone"]
        to = mail["to"] if isinstance(mail["to"], list) else [mail["to"]]
        if owner is None or [_spelled_out(one) for one in to] != [_spelled_out(owner)]:
            yield f"message {mail['id']} of {_name(row)} went to somebody else"


def key_of(mail: dict[str, Any]) -> Key | None:
    """Which notification a message is, by its Message-ID."""
    headers = {name.lower(): value for name, value in mail["headers"].items()}
    match = KEY.match(str(headers.get("message-id", "")).strip())
    return (match[1], match[2], int(match[3]), mail["channel"]) if match else None


def _outbox(world: World) -> Iterator[Row]:
    return world.each(OUTBOX, began=world.began)


def _row_key(row: Row) -> Key:
    return row["booking_id"], row["template"], row["revision"], row["channel"]


def _name(row: Row) -> str:
    return f"{row['channel']} {row['template']} {row['revision']} of booking {row['booking_id']}"


def _spelled_out(address: str) -> str:
    """With the domain in its own letters: mail is sent to the ``xn--`` form of it."""
    name, at, domain = address.lower().rpartition("@")
    return name + at + ".".join(map(_letters, domain.split(".")))


def _letters(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label.removeprefix("xn--").encode("ascii").decode("punycode")
    except UnicodeError:
        return label


CHECKS = (n1, n2, n3, n4)
