"""Which address counts as the client's, with and without trusted proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.config import controlplane as config
from pipecd.controlplane.auth.client_address import MAX_HOPS, TrustedProxies
from pipecd.errors import ConfigError

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        # Without a trusted proxy, the header is ignored.
        ("203.0.113.1", "", "203.0.113.1"),
        ("203.0.113.1", "198.51.100.1", "203.0.113.1"),
        ("ipv4:203.0.113.1:4711", "198.51.100.1", "203.0.113.1"),
        ("ipv6:%5B2001:db9::1%5D:4711", "", "2001:db9::1"),
        ("[2001:db9::1]:4711", "", "2001:db9::1"),
        ("::ffff:203.0.113.1", "", "203.0.113.1"),
        ("unix:/run/pipecd.sock", "198.51.100.1", ""),
        ("", "198.51.100.1", ""),
        # Behind one trusted proxy, or several.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("ipv4:10.0.0.1:80", "198.51.100.1:5555", "198.51.100.1"),
        ("[2001:db8::1]:80", "[2001:db9::7]:443", "2001:db9::7"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        # The client may have written the first entries itself.
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        # A trusted proxy that forwards nothing useful is the client.
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_host_that_is_no_trusted_proxy(
    peer: str, forwarded_for: str, expected: str
) -> None:
    assert PROXIES.client_address(peer, forwarded_for) == expected


@given(st.text(max_size=200), st.text(max_size=2_000))
def test_any_header_has_an_answer(peer: str, forwarded_for: str) -> None:
    PROXIES.client_address(peer, forwarded_for)
    assert PROXIES.client_address("203.0.113.1", forwarded_for) == "203.0.113.1"


def test_a_long_chain_of_proxies_is_followed_only_so_far() -> None:
    hops = ["198.51.100.1", *(f"10.1.0.{number}" for number in range(100))]
    assert PROXIES.client_address("10.0.0.1", ",".join(hops)) == f"10.1.0.{100 - MAX_HOPS}"


def test_a_network_that_is_none_is_reported() -> None:
    text = """
apiVersion: pipecd.dev/v1beta1
kind: ControlPlane
spec:
  trustedProxies:
    - 10.0.0.0/8
    - 10.0.0.1/8
"""
    with pytest.raises(ConfigError) as refused:
        config.load(text, "control-plane.yaml")
    assert str(refused.value).startswith(
        "control-plane.yaml:7: spec.trustedProxies[1]: value is not a valid IPv4 or IPv6 network"
    )
    assert config.load(text.replace("    - 10.0.0.1/8\n", ""), "c.yaml").trusted_proxies == [
        ip_network("10.0.0.0/8")
    ]
