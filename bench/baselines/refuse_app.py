"""The least an HTTP app can do to refuse a seat: the token, the body, one Lua call, 409."""

from __future__ import annotations

import os
from typing import Annotated

import jwt
import redis.asyncio
import uvicorn
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel

TAKEN = """
for index, key in ipairs(KEYS) do
    if redis.call('GET', key) then return index end
end
return 0
"""

app = FastAPI()
store = redis.asyncio.Redis.from_url(os.environ["SEATHOLD_REDIS_URL"])
script = store.register_script(TAKEN)
public_key = load_pem_public_key(os.environ["BENCH_PUBLIC_KEY"].encode())


class Reserve(BaseModel):
    show_id: str
    seats: list[str]


@app.post("/reserve")
async def reserve(body: Reserve, authorization: Annotated[str, Header()]) -> JSONResponse:
    token = authorization.removeprefix("Bearer ")
    jwt.decode(token, public_key, algorithms=["EdDSA"], options={"verify_aud": False})  # type: ignore[arg-type]
    keys = [f"{{show:{body.show_id}}}:seat:{label}" for label in body.seats]
    found = await script(keys=keys)
    if found:
        return JSONResponse({"code": "seats_unavailable", "seats": body.seats[found - 1 :]}, 409)
    return JSONResponse({"state": "held"}, 201)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
