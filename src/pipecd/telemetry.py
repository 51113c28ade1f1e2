"""How every program speaks to its operator: structured logs, and what its admin port answers.

Redaction is the first processor, so no other one ever sees a secret.
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

#: Everything that this process must never write. Programs add what they read.
redactor = Redactor()


def configure_logging(encoding: Encoding = "humanize", level: str = "info") -> None:
    """Logs to stderr: JSON objects, or lines for people."""
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
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[redactor, *chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=[_bare, redactor, renderer])
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _bare(logger: Any, method: str, event: Any) -> Any:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)


Answer = tuple[int, str, bytes]
Health = Callable[[], Awaitable[str]]


async def admin_answer(path: str, health: Health, registry: CollectorRegistry = REGISTRY) -> Answer:
    """Status, content type and body of `/healthz`, `/metrics` and `/version` on the admin port.

    `health` says what is wrong, or nothing when the process can do its work.
    """
    match path.split("?")[0]:
        case "/healthz":
            wrong = await health()
            return (503, "text/plain", wrong.encode()) if wrong else (200, "text/plain", b"ok")
        case "/version":
            return 200, "application/json", json.dumps({"version": __version__}).encode()
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        case _:
            return 404, "text/plain", b"not found: /healthz, /metrics or /version"
