"""Money on the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class MoneyOut(BaseModel):
    """``amount`` in the currency's minor unit: 2400 EUR cents are 24 euros."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": 2400, "currency": "EUR"}]})

    amount: int
    currency: str
