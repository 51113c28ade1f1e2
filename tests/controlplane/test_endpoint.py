"""Where the console says that agents, pipectl and CI reach the control plane."""

from pathlib import Path

import pytest

from pipecd.controlplane.endpoint import Endpoint, determine_endpoint
from pipecd.errors import ConfigError
from tests.controlplane.server_fixture import control_plane, spec
from tests.ports import free_ports

OWN_PORT = 19080


@pytest.mark.parametrize(
    ("address", "api_url", "tls", "expected"),
    [
        ("http://localhost:9082", "", False, Endpoint(host="localhost", port=OWN_PORT, plaintext=True)),
        ("http://localhost:9082", "", True, Endpoint(host="localhost", port=OWN_PORT)),
        ("https://cd.example.com", "", False, Endpoint(host="cd.example.com", port=443)),
        ("https://cd.example.com:8443/", "", False, Endpoint(host="cd.example.com", port=8443)),
        ("https://cd.example.com", "", True, Endpoint(host="cd.example.com", port=OWN_PORT)),
        ("", "", False, Endpoint(port=OWN_PORT, plaintext=True)),
        ("http://[::1]:9082", "", False, Endpoint(host="[::1]", port=OWN_PORT, plaintext=True)),
        (
            "https://cd.example.com",
            "https://grpc.example.com",
            False,
            Endpoint(host="grpc.example.com", port=443),
        ),
        (
            "https://cd.example.com",
            "http://10.0.0.7:9080/",
            True,
            Endpoint(host="10.0.0.7", port=9080, plaintext=True),
        ),
    ],
)
def test_the_endpoint_follows_configuration_and_command_line(
    tmp_path: Path, address: str, api_url: str, tls: bool, expected: Endpoint
) -> None:
    configured = spec(tmp_path, address=address, apiURL=api_url)
    assert determine_endpoint(configured, OWN_PORT, tls=tls) == expected


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("cd.example.com:443", "must be a URL"),
        ("https://cd.example.com/api", "write https://cd.example.com"),
        ("http://me:secret@cd.example.com:9080?a=b", "write http://cd.example.com:9080"),
    ],
)
def test_a_url_that_is_no_endpoint_is_an_error(tmp_path: Path, url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"spec\.apiURL: .*{remedy}(;|$|\W)"):
        spec(tmp_path, apiURL=url)


async def test_the_console_is_given_the_port_of_the_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with control_plane(tmp_path, ports=(port, 0)) as plane:
        endpoint = await plane.console.call("SeeEndpoint")
        assert (endpoint.host, endpoint.port, endpoint.plaintext) == ("console.example", port, True)
