"""Which addresses receivers of users may have, and that the checked address is the one that is called."""

import asyncio
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest

from pipecd.errors import Refused, Temporary
from pipecd.notify.network import Network
from pipecd.notify.sinks import http
from pipecd.quickstart.simulated_cluster.certificates import Authority
from tests.piped.receiver_server import ReceiverServer

PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    # IPv6 addresses that stand for one of IPv4: mapped, translated, 6to4, Teredo.
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_the_operator_are_refused(address: str) -> None:
    assert not Network().permits(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_addresses_of_the_internet_are_called(address: str) -> None:
    assert Network().permits(address)


def test_networks_can_be_allowed() -> None:
    network = Network(allowed=(ip_network("10.20.0.0/16"), ip_network("fd00::/8")))
    assert network.permits("10.20.3.4") and network.permits("fd00::1")
    assert network.permits("::ffff:10.20.3.4") and not network.permits("10.21.0.1")


async def test_a_name_is_resolved_once_and_its_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.create()
    key, certificate = authority.issue("hook", addresses=["127.0.0.2"])
    (tmp_path / "server.pem").write_bytes(key + certificate)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "server.pem")
    trusting = ssl.create_default_context(cadata=authority.certificate_pem.decode())

    async def context() -> ssl.SSLContext:
        return trusting

    monkeypatch.setattr(http, "tls_context", context)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    hosts: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        hosts.extend(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    network = Network(allowed=(ip_network("127.0.0.0/8"),))
    async with server:
        url = f"https://localhost:{port}/hook"
        monkeypatch.setattr(network.__class__, "resolve", _resolved)
        assert (await http.post(url, b"", {}, network)).status == 204
        assert hosts == [f"Host: localhost:{port}".encode()]
        # The certificate has the name, and not the address.
        with pytest.raises(Temporary):
            await http.post(f"https://127.0.0.1:{port}/hook", b"", {}, network)


async def _resolved(self: Network, host: str, port: int | None, *, has_proxy: bool = False) -> str:
    return "127.0.0.1"


async def test_a_proxy_gets_the_name_and_no_name_of_the_operators_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ReceiverServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "direct.invalid")
        assert (await http.post("http://hook.invalid/path", b"", {}, Network())).status == 204
        assert proxy.requests[0].path == "http://hook.invalid/path"
        assert proxy.requests[0].headers["host"] == "hook.invalid"
        with pytest.raises(Refused, match="does not call"):
            await http.post("http://localhost/path", b"", {}, Network())
        with pytest.raises(Temporary, match="cannot be resolved"):
            await http.post("http://direct.invalid/path", b"", {}, Network())
        assert len(proxy.requests) == 1


async def test_a_name_without_an_address_is_a_temporary_error() -> None:
    with pytest.raises(Temporary, match="cannot be resolved"):
        await Network().resolve("name.invalid", 443)
    with pytest.raises(Refused, match="does not call"):
        await Network().connect("localhost", 25)
