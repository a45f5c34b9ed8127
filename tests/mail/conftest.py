"""One sink process for all of its tests; each test gets it without faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mail.process import NO_FAULTS, Sink, running_sink


@pytest.fixture(scope="session")
def shared_sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with running_sink(tmp_path_factory.mktemp("sink") / "mail.sqlite") as sink:
        yield sink


@pytest.fixture
def sink(shared_sink: Sink) -> Iterator[Sink]:
    yield shared_sink
    shared_sink.configure(**NO_FAULTS)
