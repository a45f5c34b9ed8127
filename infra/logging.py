"""Structured logs: one JSON object a line, with the ids bound to the running context."""

from __future__ import annotations

import logging
import os
import sys

import structlog
from dotenv import dotenv_values

from infra.settings import Settings, misspelt


def configure_logging(settings: Settings, *, process: str) -> None:
    """Route structlog and the standard library to standard error in one format.

    Context bound by ``structlog.contextvars`` (``request_id``, ``booking_id``) is on every line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # What is below the level costs next to nothing: it is not put together first.
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    tell_misspelt()


def tell_misspelt() -> None:
    """Warn of each variable whose name is nearly a setting's: it changes nothing."""
    log = structlog.get_logger(__name__)
    for name, meant in misspelt({**dotenv_values(".env"), **os.environ}).items():
        log.warning("setting_unknown", name=name, meant=meant)
