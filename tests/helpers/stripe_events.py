"""Events as Stripe documents them, and its signature computed from the description alone."""

from __future__ import annotations

import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parents[1] / "fixtures" / "stripe"
KINDS = sorted(path.stem for path in FOLDER.glob("*.json"))
SECRET = "whsec_theFixedSecretOfTheTestsNotBase64"
PREVIOUS = "whsec_theSecretThatIsBeingRetired"
OTHER = "whsec_somebodyElses"


def event(kind: str, **changes: Any) -> bytes:
    """The documented event, as its bytes would come."""
    body = (FOLDER / f"{kind}.json").read_bytes()
    return orjson.dumps({**orjson.loads(body), **changes}) if changes else body


def signed(body: bytes, *, secret: str = SECRET, age: float = 0) -> dict[str, str]:
    """The headers of a delivery that was signed ``age`` seconds ago."""
    at = int(time.time() - age)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "stripe-signature": f"t={at},v1={digest},v0={'0' * 64}",
        "content-type": "application/json; charset=utf-8",
    }
