"""The least that Starlette can do to send an answer that it has: one route, fixed bytes."""

from __future__ import annotations

import os
import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# {"path", "body", "headers"}: what the API answered, so that both send the same.
answer = orjson.loads(sys.stdin.buffer.read())
BODY, HEADERS = answer["body"].encode(), answer["headers"]


async def read(request: Request) -> Response:
    return Response(BODY, headers=HEADERS)


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[Route(answer["path"], read)]),
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
    )
