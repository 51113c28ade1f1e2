"""The IP address that an HTTP request came from."""

from starlette.requests import Request

from pipecd.controlplane.auth.client_address import TrustedProxies


def http_client_address(request: Request, proxies: TrustedProxies) -> str:
    """As `TrustedProxies.client_address`."""
    peer = request.client.host if request.client else ""
    return proxies.client_address(peer, ",".join(request.headers.getlist("x-forwarded-for")))
