"""Where agents, `pipectl` and CI reach the gRPC port, as the console shows it in commands.

`controlplane.open_services` decides it once, from the configuration and the command line.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from pipecd.config.controlplane import ControlPlaneSpec

_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    #: Empty if no URL is configured: the host by which the user has reached the console.
    host: str = ""
    port: int = 0
    #: Without TLS.
    plaintext: bool = False


def determine_endpoint(spec: ControlPlaneSpec, port: int, *, tls: bool) -> Endpoint:
    """`port` is the server's own gRPC port, and `tls` says whether it uses TLS."""
    if spec.api_url:
        url = urlsplit(spec.api_url)
        return Endpoint(
            host=_host(spec.api_url),
            port=url.port or _DEFAULT_PORTS[url.scheme],
            plaintext=url.scheme == "http",
        )
    if urlsplit(spec.address).scheme == "https" and not tls:
        # A proxy has the certificate. It has to serve both: see the guide to high availability.
        return Endpoint(host=_host(spec.address), port=urlsplit(spec.address).port or 443)
    return Endpoint(host=_host(spec.address), port=port, plaintext=not tls)


def _host(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return f"[{host}]" if ":" in host else host
