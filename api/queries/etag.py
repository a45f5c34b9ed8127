"""``If-None-Match``: whether what a client keeps is still what it would be sent."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

OPAQUE_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')

# A list, as the header may be sent in several lines.
IfNoneMatch = Annotated[
    list[str],
    Header(
        default_factory=list,
        description="Tags of what is kept: 304 without a body if one is the present tag.",
        examples=[['"3"']],
    ),
]


def is_kept(etag: str, if_none_match: list[str]) -> bool:
    """Whether a GET that would send ``etag``, a strong tag, is to be answered with 304.

    RFC 9110 §13.1.2: ``*`` or one of a list of tags, compared weakly, so that ``W/`` counts for
    nothing. A header that is not well formed keeps nothing.
    """
    field = ",".join(if_none_match)
    if field.strip(" \t") == "*":
        return True
    if OPAQUE_TAG.sub("", field).strip(", \t"):
        return False
    return etag in OPAQUE_TAG.findall(field)
