"""One sandbox process for all of its tests; each test gets it without faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.process import (
    NO_FAULTS,
    Receiver,
    Sandbox,
    running_receiver,
    running_sandbox,
)


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox") / "sandbox.db") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox with no fault set and nowhere to send webhooks."""
    yield shared_sandbox
    shared_sandbox.configure(**NO_FAULTS)


@pytest.fixture
def receiver(sandbox: Sandbox) -> Iterator[Receiver]:
    """A receiver the sandbox sends its webhooks to; what was queued before may arrive too."""
    with running_receiver() as receiver:
        sandbox.configure(webhook_url=receiver.url)
        yield receiver
        sandbox.configure(webhook_url=None)
