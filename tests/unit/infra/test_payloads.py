"""Messages through Temporal keep their shape, and all converters share what they have learnt."""

from __future__ import annotations

from temporalio.converter import JSONPlainPayloadConverter

from domain.booking import BookingState
from domain.steps import HoldOutcome
from infra import payloads

OUTCOME = HoldOutcome(BookingState.REJECTED, 0.0, "limit_reached", "Too many.", {"maximum": 3})


def test_what_the_sdk_writes_we_read_and_the_other_way_round() -> None:
    ours, sdks = payloads.PayloadConverter(), JSONPlainPayloadConverter()
    written = sdks.to_payload(OUTCOME)
    assert written is not None
    assert ours.from_payload(written, HoldOutcome) == OUTCOME
    assert sdks.from_payload(ours.to_payload(OUTCOME), HoldOutcome) == OUTCOME


def test_a_converter_made_for_a_workflow_learns_no_type_anew() -> None:
    one, other = payloads.PayloadConverter(), payloads.PayloadConverter()
    assert one is not other
    assert json_part(one) is json_part(other)


def json_part(converter: payloads.PayloadConverter) -> object:
    return converter.converters[b"json/plain"]
