"""Every maximum in one place; the ones an operator may change are in ``infra/settings.py``."""

from __future__ import annotations

EXTENSIONS_PER_HOLD = 2
# A pay page shorter than this is not worth opening; checkout stretches the hold once.
MIN_CHECKOUT_SECONDS = 300
# A reserve whose hold step comes later than this is refused: its buyer has gone.
REQUEST_TTL_SECONDS = 30
PRECLAIM_LEASE_SECONDS = 30
MAX_CONFIRM_WAIT_SECONDS = 30
# Those who choose at the same moment find the same block. Each time it is gone they choose among
# four times as many, so that hundreds at once are apart before the tries are over.
BEST_AVAILABLE_TRIES = 6
BEST_AVAILABLE_SPREAD = 4
# Ids that one Idempotency-Key may use up while nothing can be booked.
TRIES_OF_A_KEY = 100
PAGE_DEFAULT = 20
PAGE_MAX = 100
# A refund that the provider says has failed is sent again so often, each time under a new key.
REFUND_RETRIES = 5
# Banks take days; an accepted refund that takes longer than this is for a person to ask about.
SLOW_REFUND_SECONDS = 10 * 24 * 3600
# Other seats for late money are kept for its buyer this long.
OFFER_SECONDS = 1800
# Seats chosen for an offer can be taken before they are claimed: then others are chosen.
LATE_TRIES = 3
# The promise: a person sees a case within a day.
CASE_SECONDS = 24 * 3600
CASE_ALERT_EVERY_SECONDS = 3600

assert PRECLAIM_LEASE_SECONDS >= REQUEST_TTL_SECONDS, "a live request must still own its seats"
# Of one process: an office behind one address may watch a sale, a machine may not fill the server.
STREAMS_PER_ADDRESS = 200
