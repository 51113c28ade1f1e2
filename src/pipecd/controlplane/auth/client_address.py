"""The IP address that a request came from, also behind reverse proxies.

Used for all RPCs, by sign-in and by webhooks. `X-Forwarded-For` is believed only if a trusted proxy sent it:
anyone can write the header, and the address is recorded in the audit log and limits password guessing.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: Proxies that a request may have passed; further entries of the header are ignored.
MAX_HOPS = 16


class TrustedProxies:
    """`networks` of reverse proxies whose `X-Forwarded-For` is believed; usually none."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def client_address(self, peer: str, forwarded_for: str = "") -> str:
        """The address of the first host, seen from here, that is not a trusted proxy; empty if unknown.

        `peer` is the other end of the connection: an address with or without a port, or in gRPC's notation.
        `forwarded_for` is the header's value; each proxy appends the address that called it.
        """
        address = _parse_peer(peer)
        if address is None:
            return ""
        for forwarded in _from_last(forwarded_for):
            if not self._trusts(address) or (previous := _parse(forwarded)) is None:
                break
            address = previous
        return str(address)

    def is_proxy(self, peer: str) -> bool:
        """Whether `peer`, as in `client_address`, is a trusted proxy."""
        address = _parse_peer(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def client_network(address: str) -> str:
    """What one client can choose its address from: an address of IPv4, a network of 64 bits of IPv6."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if mapped := parsed.ipv4_mapped:
        return str(mapped)
    return str(ip_network((parsed, 64), strict=False))


def _from_last(forwarded_for: str) -> Iterator[str]:
    return reversed(forwarded_for.rsplit(",", MAX_HOPS)[-MAX_HOPS:]) if forwarded_for else iter(())


def _parse(text: str) -> Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `[::1]:80`, `ipv4:192.0.2.1:80` or `ipv6:%5B::1%5D:80`."""
    text = unquote(text.strip())
    for scheme in ("ipv4:", "ipv6:"):
        text = text.removeprefix(scheme)
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


#: For the other ends of connections, each of which makes many calls.
_parse_peer = lru_cache(10_000)(_parse)
