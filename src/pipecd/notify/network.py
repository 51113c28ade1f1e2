"""The addresses that receivers of users may have: of the internet, and of networks that are allowed.

Otherwise a user could have the control plane call its own machine, its network, or the metadata service of
its cloud, and read the answers in errors (server-side request forgery).
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from pipecd.errors import Refused, Temporary

Address = IPv4Address | IPv6Address
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class Network:
    """`allowed` networks may be called although they are not part of the internet."""

    allowed: Sequence[IPv4Network | IPv6Network] = ()

    def permits(self, address: str) -> bool:
        """`address` is numeric."""
        found = _innermost(ip_address(address.partition("%")[0]))
        if any(found in network for network in self.allowed):
            return True
        return found.is_global and not found.is_multicast and not found.is_reserved

    async def resolve(self, host: str, port: int | None, *, has_proxy: bool = False) -> str:
        """An address of `host`. Raises Temporary if it has none, Refused if it has one not to be called.

        With a proxy, which resolves the name itself, a name without an address is no error.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            if has_proxy:
                return ""
            raise Temporary(f"{host} cannot be resolved") from error
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            if not self.permits(address):
                raise Refused(
                    f"{host} has the address {address}, which the control plane does not call",
                    remedy="add its network to spec.notifications.allowedNetworks in its configuration file",
                )
        return addresses[0]

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected socket. Raises as `resolve`, or Temporary."""
        address = await self.resolve(host, port)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise Temporary(f"{host}:{port} cannot be reached: {error.strerror}") from error
            raise
        return connection


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address
