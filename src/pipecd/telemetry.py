"""Structured logging and the admin endpoints shared by all programs.

Redaction is the first log processor, so no other processor ever sees a secret.
"""

import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from pipecd import __version__
from pipecd.secrets import Redactor

Encoding = Literal["json", "console", "humanize"]

#: Metrics of the agent, also of its stages and platforms: served at its admin port and reported every minute.
AGENT_METRICS = CollectorRegistry()

#: The secrets this process must never write. Programs add every secret they read.
redactor = Redactor()


#: Those of PipeCD too: all above errors are errors here.
_LEVELS = {**logging.getLevelNamesMapping(), "DPANIC": logging.ERROR, "PANIC": logging.ERROR}


def configure_logging(encoding: Encoding = "humanize", level: str = "info") -> None:
    """Configure logging to stderr, as JSON objects or human-readable lines."""
    renderer: Any = structlog.processors.JSONRenderer()
    if encoding != "json":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redactor,
    ]
    level_number = min(_LEVELS.get(level.upper(), logging.INFO), logging.ERROR)
    structlog.configure(
        processors=[redactor, *chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain, processors=[_remove_processor_metadata, redactor, renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level_number, logging.WARNING), force=True)


def _remove_processor_metadata(logger: Any, method: str, event: Any) -> Any:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)


#: Status, content type and body.
AdminResponse = tuple[int, str, bytes]
#: Returns the reason the process is unhealthy, or an empty string.
Health = Callable[[], Awaitable[str]]


async def answer_admin_request(
    path: str,
    health: Health,
    registry: CollectorRegistry = REGISTRY,
    *,
    remark: Callable[[], str] = lambda: "",
) -> AdminResponse:
    """The response for `/healthz`, `/metrics` or `/version`; 404 for any other path.

    `health` returns the reason the process is unhealthy, or an empty string; `remark` what to say of a
    healthy one.
    """
    match path.split("?")[0]:
        case "/healthz":
            reason = await health()
            if reason:
                return 503, "text/plain", reason.encode()
            return 200, "text/plain", (f"ok; {text}" if (text := remark()) else "ok").encode()
        case "/version":
            return 200, "application/json", json.dumps({"version": __version__}).encode()
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        case _:
            return 404, "text/plain", b"not found: /healthz, /metrics or /version"
