"""Sign-in works with what products of OpenID Connect do differently, as their documentation describes it."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from starlette.responses import JSONResponse

from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.auth.sso.grants import Grant
from pipecd.controlplane.auth.sso.oidc import OIDCClient
from pipecd.controlplane.auth.sso.providers import OIDC, Identity
from pipecd.controlplane.settings import AuthSettings
from pipecd.errors import PipecdError
from tests.controlplane.sign_in_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    SignInProvider,
    query_of,
    sign_in_provider,
    signing_key,
)
from tests.skippable_clock import SkippableClock

CALLBACK = "https://console.example/auth/callback"
#: The verifier of PKCE and its challenge, of RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
Change = Callable[[SignInProvider], None]


@pytest.fixture
async def provider() -> AsyncIterator[SignInProvider]:
    async with sign_in_provider() as running:
        running.claims["groups"] = ["operators"]
        yield running


async def sign_in(
    provider: SignInProvider, client: OIDCClient | None = None, **settings: Any
) -> tuple[Identity, dict[str, str]]:
    """The user, and what the provider was asked with."""
    client = client or OIDCClient(SYSTEM_CLOCK, AuthSettings())
    oidc = settings_of(provider, **settings)
    url = await client.authorization_url(oidc, CALLBACK, "state", "nonce", CHALLENGE)
    async with httpx.AsyncClient(verify=False) as browser:
        back = query_of((await browser.get(url)).headers["location"])
    identity = await client.identify(oidc, back["code"], CALLBACK, VERIFIER, "nonce", back.get("iss"))
    return identity, query_of(url)


def settings_of(provider: SignInProvider, **settings: Any) -> OIDC:
    issuer = provider.url + provider.path
    return OIDC(**{"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": issuer, **settings})


def change(**fields: Any) -> Change:
    return lambda provider: provider.__dict__.update(fields)


def claims(**claims: Any) -> Change:
    return lambda provider: provider.claims.update(claims)


def metadata(**changes: Any) -> Change:
    return lambda provider: provider.metadata_changes.update(changes)


def several(*changes: Change) -> Change:
    def apply(provider: SignInProvider) -> None:
        for each in changes:
            each(provider)

    return apply


def publish(provider: SignInProvider, *keys: dict[str, Any]) -> None:
    provider.replaced["/keys"] = JSONResponse({"keys": list(keys)})


def public(key: Any, **fields: Any) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm: Any = jwt.algorithms.ECAlgorithm
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = jwt.algorithms.OKPAlgorithm
    else:
        algorithm = jwt.algorithms.RSAAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), **fields}


def sign_with(algorithm: str, key: Any, **fields: Any) -> Change:
    def apply(provider: SignInProvider) -> None:
        provider.algorithm, provider.key = algorithm, key
        publish(provider, public(key, kid="k1", **fields))

    return apply


def with_a_key_for_encryption(provider: SignInProvider) -> None:
    encryption = public(signing_key(1), kid="k1", use="enc", alg="RSA-OAEP")
    publish(provider, encryption, {"kty": "unknown"}, public(signing_key(), kid="k1", use="sig", alg="RS256"))


def without_key_ids(provider: SignInProvider) -> None:
    provider.key_id = None
    publish(provider, public(signing_key(1)), public(signing_key()))


def auth0(provider: SignInProvider) -> None:
    """The issuer ends with a slash, and claims are named by URLs."""
    provider.metadata_changes["issuer"] = f"{provider.url}/"
    del provider.claims["groups"]
    provider.claims["https://example.com/groups"] = ["operators"]


BOTH = ["client_secret_basic", "client_secret_post"]

WORKING: dict[str, tuple[Change, dict[str, Any]]] = {
    "a path (Keycloak, Okta, Entra ID)": (change(path="/realms/company"), {}),
    "a slash at the end (Auth0)": (auth0, {"roles_claim_key": "https://example.com/groups"}),
    "one group as a text (AD FS)": (claims(groups="operators"), {}),
    "roles of a client (Keycloak)": (
        claims(groups=None, resource_access={CLIENT_ID: {"roles": ["operators"]}}),
        {"roles_claim_key": f"resource_access.{CLIENT_ID}.roles"},
    ),
    "groups of Cognito": (claims(groups=None, **{"cognito:groups": ["operators"]}), {}),
    "the domain as a group (Google)": (claims(groups=None, hd="operators"), {"roles_claim_key": "hd"}),
    "groups in the user info only (Okta)": (
        change(claims={"sub": "u1", "preferred_username": "ada"}, user_info={"groups": ["operators"]}),
        {},
    ),
    "no user info": (metadata(userinfo_endpoint=None), {}),
    "a signed user info": (
        change(
            claims={"sub": "u1", "preferred_username": "ada"},
            user_info={"groups": ["operators"]},
            signed_user_info={},
        ),
        {},
    ),
    "several audiences": (lambda provider: provider.forged.update(aud=["api", CLIENT_ID], azp=CLIENT_ID), {}),
    "a clock that is 30 s ahead": (lambda provider: provider.forged.update(iat=provider.now() + 30), {}),
    "a clock that is 30 s behind": (lambda provider: provider.forged.update(exp=provider.now() - 30), {}),
    "PS256": (sign_with("PS256", signing_key(), alg="PS256"), {}),
    "PS256 with a key of any algorithm": (sign_with("PS256", signing_key()), {}),
    "ES256": (sign_with("ES256", ec.generate_private_key(ec.SECP256R1())), {}),
    "ES384": (sign_with("ES384", ec.generate_private_key(ec.SECP384R1()), alg="ES384"), {}),
    "EdDSA": (sign_with("EdDSA", ed25519.Ed25519PrivateKey.generate()), {}),
    "Ed25519 (RFC 9864)": (sign_with("Ed25519", ed25519.Ed25519PrivateKey.generate()), {}),
    "Ed25519 with a key that says so": (
        sign_with("Ed25519", ed25519.Ed25519PrivateKey.generate(), alg="Ed25519"),
        {},
    ),
    "a key for encryption of the same name (Keycloak)": (with_a_key_for_encryption, {}),
    "keys without names": (without_key_ids, {}),
    "the secret in the form only": (
        several(
            metadata(token_endpoint_auth_methods_supported=["client_secret_post"]), change(accepts={"form"})
        ),
        {},
    ),
    "a client whose secret is in the form (Auth0)": (
        several(metadata(token_endpoint_auth_methods_supported=BOTH), change(accepts={"form"})),
        {},
    ),
    "a client whose secret is in the header (Okta)": (
        several(metadata(token_endpoint_auth_methods_supported=BOTH), change(accepts={"basic"})),
        {},
    ),
    "the issuer beside the code (RFC 9207)": (
        several(metadata(authorization_response_iss_parameter_supported=True), change(sends_issuer=True)),
        {},
    ),
}


@pytest.mark.parametrize("name", WORKING)
async def test_what_products_do_differently_works(provider: SignInProvider, name: str) -> None:
    apply, settings = WORKING[name]
    apply(provider)
    identity, asked = await sign_in(provider, **settings)
    assert (identity.username, list(identity.groups)) == ("ada", ["operators"])
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid profile")


REFUSED: dict[str, tuple[Change, dict[str, Any], str]] = {
    "any tenant (Entra ID)": (
        metadata(issuer="https://login.example/{tenantid}/v2.0"),
        {},
        "calls itself https://login.example/{tenantid}",
    ),
    "more than 200 groups (Entra ID)": (
        lambda provider: provider.__dict__.update(
            claims={"sub": "u1", "preferred_username": "ada"},
            forged={"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "x"}}},
        ),
        {},
        "you are in more groups than",
    ),
    "no issuer beside the code": (
        metadata(authorization_response_iss_parameter_supported=True),
        {},
        "did not send its name with the code",
    ),
    "a signed user info of another client": (
        change(signed_user_info={"aud": ["another"]}),
        {},
        "user info for another client",
    ),
    "a signed user info of another provider": (
        change(signed_user_info={"iss": "https://evil.example"}),
        {},
        "invalid user info",
    ),
    "a signed user info of another user": (change(signed_user_info={"sub": "u2"}), {}, "another user"),
    "a wrong secret, both ways": (
        metadata(token_endpoint_auth_methods_supported=BOTH),
        {"client_secret": "wrong"},
        "does not accept the client's id and secret",
    ),
    "several audiences, for another client": (
        lambda provider: provider.forged.update(aud=["api", CLIENT_ID], azp="api"),
        {},
        "another client",
    ),
    "a secret as a key": (
        lambda provider: provider.__dict__.update(algorithm="HS256", key="s" * 32),
        {},
        "HS256, which is not safe; choose RS256",
    ),
    "a clock that is two minutes ahead": (
        lambda provider: provider.forged.update(iat=provider.now() + 120),
        {},
        "clocks of 127.0.0.1 and the control plane differ by 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_safe_is_refused(provider: SignInProvider, name: str) -> None:
    apply, settings, problem = REFUSED[name]
    apply(provider)
    with pytest.raises(PipecdError, match=problem.replace("{", "[{]")):
        await sign_in(provider, **settings)


async def test_a_code_of_another_provider_is_not_exchanged(provider: SignInProvider) -> None:
    client = OIDCClient(SYSTEM_CLOCK, AuthSettings())
    with pytest.raises(PipecdError, match="another provider than"):
        await client.identify(
            settings_of(provider), "code", CALLBACK, VERIFIER, "nonce", "https://other.example"
        )
    assert "/token" not in provider.requests


async def test_the_way_of_sending_the_secret_is_remembered(provider: SignInProvider) -> None:
    """Refused requests would count as attacks on the client at some providers."""
    provider.metadata_changes["token_endpoint_auth_methods_supported"] = BOTH
    provider.accepts, provider.refreshes = frozenset(("form",)), True
    client = OIDCClient(SYSTEM_CLOCK, AuthSettings())
    identity, _ = await sign_in(provider, client)
    assert provider.requests.count("/token") == 2
    stored: list[Grant] = []

    async def store(grant: Grant) -> None:
        stored.append(grant)

    await client.identify_again(settings_of(provider), identity.grant, store)
    assert provider.requests.count("/token") == 3
    assert stored[0].refresh_token != identity.grant.refresh_token
    provider.accepts = frozenset(("basic",))
    for expected in (5, 6):
        await sign_in(provider, client)
        assert provider.requests.count("/token") == expected, "the client was registered again"


@pytest.mark.parametrize("key_id", ["k1", "k2", None])
async def test_a_replaced_key_is_read(provider: SignInProvider, key_id: str | None) -> None:
    """Also one with the name of the earlier one, or without a name; at most every ten seconds."""
    clock = SkippableClock()
    provider.now = clock.now
    client = OIDCClient(clock, AuthSettings())
    await sign_in(provider, client)
    await sign_in(provider, client)
    assert provider.requests.count("/keys") == 1, "keys are cached"
    provider.key, provider.key_id = signing_key(1), key_id
    publish(provider, public(signing_key(1), **({"kid": key_id} if key_id else {})))
    with pytest.raises(PipecdError, match="a key that it does not publish"):
        await sign_in(provider, client)
    clock.skip(11)
    await sign_in(provider, client)
    assert provider.requests.count("/keys") == 2
