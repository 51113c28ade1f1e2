"""The HTTP proxy for a cluster: that of the kubeconfig, else that of the environment."""

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access


def find_proxy(access: Access, environ: Mapping[str, str] = os.environ) -> str | None:
    """The URL of the proxy; None for a direct connection. Raises ConfigError for an unsupported proxy."""
    url = access.proxy_url or _from_environment(access.server, environ)
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"{access.origin}: {urlsplit(url).scheme or 'such'} proxies are not supported",
            remedy="use the URL of an HTTP proxy, such as http://proxy:3128",
        )
    return url or None


def _from_environment(server: str, environ: Mapping[str, str]) -> str:
    parts = urlsplit(server)
    name = f"{parts.scheme}_proxy"
    url = environ.get(name) or environ.get(name.upper()) or ""
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    host, port = parts.hostname or "", str(parts.port or "")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return ""
    return "" if any(_matches(entry.strip(), host, port) for entry in excluded.split(",")) else url


def _matches(entry: str, host: str, port: str) -> bool:
    """As Go reads NO_PROXY: a domain with its subdomains, an address, a network, or `*`."""
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return entry == f"{host}:{port}"
    domain, _, entry_port = entry.partition(":")
    if entry_port and entry_port != port:
        return False
    domain = domain.removeprefix("*").lower()
    return host == domain or host.endswith(domain if domain.startswith(".") else f".{domain}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
