"""``If-None-Match``: whether what a client keeps is still what it would be sent."""

from __future__ import annotations

import re
from typing import Annotated, Any

import orjson
from fastapi import Header, Response

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


def answer(found: dict[str, Any], if_none_match: list[str]) -> Response:
    """What was found, under its version as its tag; 304 where the client keeps that."""
    headers = {"ETag": f'"{found["version"]}"'}
    if is_kept(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(orjson.dumps(found), headers=headers, media_type="application/json")
