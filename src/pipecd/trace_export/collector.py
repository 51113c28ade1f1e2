"""The collector: its settings, from OpenTelemetry's environment variables and ours, and the connection to it.

The variables are those of the OTLP exporter in OpenTelemetry's specification. A request is sent as it is, so
that requests of agents can be forwarded.
"""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pipecd.errors import ConfigError, Place, Refused, Temporary
from pipecd.trace_export.queue import Send

EXPORT_PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
Protocol = Literal["http/protobuf", "grpc"]
#: Status codes after which a request is repeated, by OTLP's specification.
_TEMPORARY_HTTP = frozenset({429, 502, 503, 504})
_TEMPORARY_GRPC = frozenset(
    {
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
)
_MAX_REASON = 300


@dataclass(frozen=True, kw_only=True)
class Collector:
    """`endpoint` is the URL of the requests for `http/protobuf`; of the server for `grpc`."""

    endpoint: str
    protocol: Protocol = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: PEM file of the CA certificates to trust; empty: those of the system.
    cert_file: str = ""
    #: In seconds.
    timeout: float = 10.0
    compress: bool = False


def is_installed() -> bool:
    """Whether the extra `otel` is installed."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def check_installed() -> None:
    """Raises ConfigError if the extra `otel` is not installed."""
    if not is_installed():
        raise ConfigError(
            "OpenTelemetry is not installed",
            remedy="install it: pip install 'pipecd[otel]', or remove the key",
            place=Place(key="spec.tracing"),
        )


def switched_off(environment: Mapping[str, str]) -> bool:
    """Whether the environment forbids to export traces."""
    exporters = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip()
    return environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporters not in ("otlp", "")


def from_environment(environment: Mapping[str, str]) -> Collector | None:
    """The collector of the `OTEL_*` variables; None if they name none. Raises ConfigError."""

    def value(name: str) -> str:
        own = environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
        return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()

    endpoint = value("ENDPOINT")
    if not endpoint or switched_off(environment):
        return None
    protocol = value("PROTOCOL") or "http/protobuf"
    if not environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip() and protocol != "grpc":
        endpoint = f"{endpoint.rstrip('/')}/v1/traces"
    return create(
        endpoint,
        protocol,
        headers=value("HEADERS"),
        cert_file=value("CERTIFICATE"),
        timeout_ms=value("TIMEOUT") or "10000",
        compression=value("COMPRESSION"),
    )


def create(
    endpoint: str,
    protocol: str,
    *,
    headers: str = "",
    cert_file: str = "",
    timeout_ms: str = "10000",
    compression: str = "",
) -> Collector:
    """Raises ConfigError. `headers` is a list `name=value,…` whose values are URL-encoded."""
    if protocol not in ("http/protobuf", "grpc"):
        raise ConfigError(
            f"traces cannot be exported by {protocol!r}", remedy="use http/protobuf or grpc as protocol"
        )
    url = urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(
            f"{endpoint!r} is not the address of a collector", remedy="write http://host:4318 or https://…"
        )
    if not timeout_ms.isdecimal():
        raise ConfigError(f"the export timeout {timeout_ms!r} is no number", remedy="specify milliseconds")
    if cert_file and not Path(cert_file).is_file():
        raise ConfigError(
            f"the certificate file {cert_file} of the collector does not exist",
            remedy="name a readable PEM file",
        )
    return Collector(
        endpoint=url.geturl(),
        protocol="grpc" if protocol == "grpc" else "http/protobuf",
        headers=parse_headers(headers),
        cert_file=cert_file,
        timeout=int(timeout_ms) / 1000,
        compress=compression == "gzip",
    )


def parse_headers(text: str) -> Mapping[str, str]:
    """Raises ConfigError, which does not contain the text: headers are credentials."""
    headers = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = item.partition("=")
        if not separator or not name.strip():
            raise ConfigError(
                "the headers for the collector are malformed", remedy="write name=value, separated by commas"
            )
        headers[name.strip().lower()] = unquote(value.strip())
    return headers


@asynccontextmanager
async def connected(collector: Collector) -> AsyncIterator[Send]:
    """A function that sends one request. It raises Temporary if another attempt can help, else Refused."""
    opening = _by_grpc(collector) if collector.protocol == "grpc" else _by_http(collector)
    async with opening as send:
        yield send


@asynccontextmanager
async def _by_http(collector: Collector) -> AsyncIterator[Send]:
    import httpx

    headers = {"content-type": "application/x-protobuf", **collector.headers}
    if collector.compress:
        headers["content-encoding"] = "gzip"
    verify = await asyncio.to_thread(ssl.create_default_context, cafile=collector.cert_file or None)
    async with httpx.AsyncClient(timeout=collector.timeout, verify=verify) as client:

        async def send(data: bytes) -> None:
            body = gzip.compress(data) if collector.compress else data
            try:
                response = await client.post(collector.endpoint, content=body, headers=headers)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise Temporary(
                    f"the collector {collector.endpoint} cannot be reached: {type(error).__name__}"
                ) from error
            if response.status_code in _TEMPORARY_HTTP:
                raise Temporary(f"the collector {collector.endpoint} answers {response.status_code}")
            if not response.is_success:
                raise Refused(f"the collector {collector.endpoint} answers {response.status_code}")

        yield send


@asynccontextmanager
async def _by_grpc(collector: Collector) -> AsyncIterator[Send]:
    import grpc
    from grpc import aio

    url = urlsplit(collector.endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    compression = grpc.Compression.Gzip if collector.compress else grpc.Compression.NoCompression
    if url.scheme == "http":
        channel = aio.insecure_channel(f"{host}:{port}", compression=compression)
    else:
        roots = Path(collector.cert_file).read_bytes() if collector.cert_file else None
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        channel = aio.secure_channel(f"{host}:{port}", credentials, compression=compression)
    async with channel:
        export: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT_PATH)

        async def send(data: bytes) -> None:
            try:
                await export(data, timeout=collector.timeout, metadata=tuple(collector.headers.items()))
            except aio.AioRpcError as error:
                reason = f"{error.code().name} {error.details() or ''}"[:_MAX_REASON].strip()
                message = f"the collector {collector.endpoint} answers {reason}"
                raise (Temporary if error.code().name in _TEMPORARY_GRPC else Refused)(message) from error

        yield send
