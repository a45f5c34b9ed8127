"""``If-Match``: change a thing only as it was when the caller read it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

from domain.errors import Conflict

# A weak tag is none of ours, and so never one that matches (RFC 9110 §13.1.1).
STRONG_TAG = re.compile(r'(?<!W/)"(\d{1,9})"')

# A list, as the header may be sent in several lines.
IfMatch = Annotated[
    list[str],
    Header(
        default_factory=list,
        description="The `ETag` of what is to be changed: 412 if it is another by now,"
        " 428 without.",
        examples=[['"3"']],
    ),
]


def versions(if_match: list[str]) -> frozenset[int] | None:
    """The versions that the caller accepts; None for ``*``, which is any.

    Raises:
        Conflict: ``precondition_required``: there is no such header.
    """
    if not if_match:
        raise Conflict("Send the ETag that you read as If-Match.", code="precondition_required")
    field = ",".join(if_match)
    if field.strip(" \t") == "*":
        return None
    return frozenset(int(tag) for tag in STRONG_TAG.findall(field))
