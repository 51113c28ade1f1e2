"""Where traces are sent (`spec.tracing`), in the files of the control plane and of the agent."""

import os
from typing import Literal

import structlog

from pipecd.config.decode import StrictModel
from pipecd.config.named_file import read_named_file
from pipecd.errors import ConfigError, Place
from pipecd.trace_export import collector
from pipecd.trace_export.collector import Collector

log = structlog.get_logger()


class Tracing(StrictModel):
    endpoint: str = ""
    """URL of an OpenTelemetry collector, such as `http://collector:4318/v1/traces`, or `http://collector:4317`
    for `grpc`. Default: the one of the environment variables `OTEL_EXPORTER_OTLP_*`."""
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """How spans are sent to `endpoint`."""
    headers_file: str = ""
    """Path of a file with headers for the collector, such as credentials, as `name=value,name=value`."""
    cert_file: str = ""
    """PEM file of the CA certificates that are trusted. Default: those of the system."""

    def collector(self) -> Collector | None:
        """The collector, of the file or of the environment; None if there is none. Raises ConfigError."""
        if not self.endpoint:
            found = collector.from_environment(os.environ)
            if found and not collector.is_installed():
                # The variables may be set for all programs of a machine or a cluster.
                log.warning("traces_unavailable", remedy="pip install 'pipecd[otel]'")
                return None
            return found
        headers = read_named_file(self.headers_file, "spec.tracing.headersFile") if self.headers_file else ""
        try:
            return collector.create(self.endpoint, self.protocol, headers=headers, cert_file=self.cert_file)
        except ConfigError as error:
            raise ConfigError(error.what, remedy=error.remedy, place=Place(key="spec.tracing")) from None


class AgentTracing(Tracing):
    through_control_plane: bool = False
    """Send spans to the control plane, which forwards them to its collector."""
