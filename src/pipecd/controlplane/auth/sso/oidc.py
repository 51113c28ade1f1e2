"""Sign-in by an OpenID Connect provider: discovery, authorization code with PKCE, ID token, user info.

PyJWT verifies the ID token, and the user info if it is signed. What the provider publishes (its metadata and
keys) is cached for an hour; its keys are read again if a token was signed with an unknown one.
"""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import jwt
from jwt.algorithms import OKPAlgorithm

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.auth.sso.grants import CannotAsk, Grant, GrantEnded, StoreGrant
from pipecd.controlplane.auth.sso.providers import OIDC, Identity
from pipecd.controlplane.auth.sso.requests import (
    Absent,
    Requests,
    WrongClient,
    check_client,
    exchange_code,
    open_requests,
    refresh,
    send_as_user,
)
from pipecd.controlplane.settings import AuthSettings
from pipecd.errors import ConfigError, PipecdError, Temporary, Unauthenticated

_USERNAME_CLAIMS = ("username", "preferred_username", "name", "cognito:username", "email", "sub")
_ROLES_CLAIMS = ("groups", "roles", "cognito:groups", "custom:roles", "custom:groups")
_AVATAR_CLAIMS = ("picture", "avatar_url")
#: The name that RFC 9864 gives EdDSA with this curve; the library does not know it.
_ED25519 = "Ed25519"
#: Asymmetric algorithms only: neither `none` nor a signature that the client's secret could make.
_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
    _ED25519,
)
#: How long a failure to read metadata or keys is cached (seconds).
_FAILURE_AGE = 5.0
#: Minimum interval between two reads of a provider's keys because of an unknown key (seconds).
_KEYS_INTERVAL = 10.0
#: Accepted difference between the clocks (seconds).
_LEEWAY = 60
_MAX_GROUPS = 2000
_MAX_LENGTH = 256
#: How a request is authenticated: HTTP Basic, fields of the form.
_Authentication = tuple[tuple[str, str] | None, dict[str, str]]
_Result = TypeVar("_Result")


class OIDCClient:
    """Signs users in at any number of providers."""

    def __init__(self, clock: Clock, limits: AuthSettings) -> None:
        self._clock, self._limits = clock, limits
        #: URL and proxy → when it was read (monotonic), the document or why there is none.
        self._documents = BoundedDict[tuple[str, str], tuple[float, dict[str, Any] | PipecdError]](100)
        #: Issuer and id of each client whose secret is accepted as a field of the form only.
        self._in_form = BoundedDict[tuple[str, str], bool](100)
        self._lock = asyncio.Lock()

    async def authorization_url(
        self, settings: OIDC, redirect_uri: str, state: str, nonce: str, challenge: str
    ) -> str:
        """Raises Temporary or ConfigError."""
        async with open_requests(
            settings.title, settings.proxy_url, self._clock, self._limits.provider_timeout
        ) as requests:
            metadata = await self._metadata(settings, requests)
        endpoint = settings.authorization_endpoint or _endpoint(settings, metadata, "authorization_endpoint")
        scopes = dict.fromkeys(("openid", *(settings.scopes or ("profile",))))
        parameters = {
            "client_id": settings.client_id,
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "scope": " ".join(scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    async def identify(
        self, settings: OIDC, code: str, redirect_uri: str, verifier: str, nonce: str, issuer: str | None
    ) -> Identity:
        """The user that `code` stands for. `issuer`: the one that was sent with it, if any.

        Raises Unauthenticated, Temporary or ConfigError.
        """
        async with open_requests(
            settings.title, settings.proxy_url, self._clock, self._limits.provider_timeout
        ) as requests:
            metadata = await self._metadata(settings, requests)
            _check_issuer(settings, metadata, issuer)
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
            endpoint = settings.token_endpoint or _endpoint(settings, metadata, "token_endpoint")
            token = await self._as_client(
                settings,
                metadata,
                lambda auth, client: exchange_code(requests, endpoint, form | client, auth=auth),
            )
            claims = await self._verify(settings, metadata, requests, str(token.get("id_token") or ""), nonce)
            grant = Grant(subject=str(claims["sub"])).renewed(token, self._clock.now())
            try:
                more = await self._user_info(settings, metadata, requests, grant)
            except GrantEnded as error:
                raise Temporary(str(error)) from None
            if more and more.get("sub") != grant.subject:
                raise Temporary(f"{settings.title} sent information about another user")
        grant = replace(grant, groups_in=groups_in(settings, claims, more))
        return replace(identity_of(settings, {**claims, **more}), grant=grant)

    async def identify_again(self, settings: OIDC, grant: Grant, store: StoreGrant) -> Identity:
        """The user of `grant` as it is now. `store` gets renewed tokens at once.

        Raises GrantEnded, CannotAsk, Temporary or ConfigError.
        """
        async with open_requests(
            settings.title, settings.proxy_url, self._clock, self._limits.provider_timeout
        ) as requests:
            if not grant.refresh_token and not grant.access_is_valid(self._clock.now()):
                raise CannotAsk
            metadata = await self._metadata(settings, requests)
            claims: dict[str, Any] = {}
            if grant.refresh_token:
                form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
                endpoint = settings.token_endpoint or _endpoint(settings, metadata, "token_endpoint")
                tokens = await self._as_client(
                    settings,
                    metadata,
                    lambda auth, client: refresh(requests, endpoint, form | client, auth=auth),
                )
                grant = grant.renewed(tokens, self._clock.now())
                # The provider may have invalidated the earlier token.
                await store(grant)
                if id_token := tokens.get("id_token"):
                    claims = await self._verify(settings, metadata, requests, str(id_token), None)
            try:
                more = await self._user_info(settings, metadata, requests, grant)
            except GrantEnded:
                if not grant.refresh_token and not grant.expires_at:
                    # It may have expired.
                    raise CannotAsk from None
                raise
        if any(document.get("sub") != grant.subject for document in (claims, more) if document):
            raise GrantEnded(f"{settings.title} sent another user")
        if not {"id_token": claims, "user_info": more, "": {"sub"}}[grant.groups_in]:
            # The documents that it sent never have the groups.
            raise CannotAsk
        return replace(identity_of(settings, {**claims, **more}, named=False), grant=grant)

    async def _user_info(
        self, settings: OIDC, metadata: Mapping[str, Any], requests: Requests, grant: Grant
    ) -> dict[str, Any]:
        """Empty if the provider has no such endpoint. Raises GrantEnded or Temporary."""
        endpoint = settings.user_info_endpoint or metadata.get("userinfo_endpoint")
        if not endpoint or not isinstance(endpoint, str) or not grant.access_token:
            return {}
        headers = {"authorization": f"Bearer {grant.access_token}"}
        response = await send_as_user(requests, endpoint, headers)
        if response.status != 200 or not isinstance(response.body, str):
            return requests.expect_object(response)
        claims = await self._decode(
            settings, metadata, requests, response.body, "user info", ("sub",), verify_aud=False
        )
        audience = claims.get("aud", settings.client_id)
        if settings.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise Temporary(f"{settings.title} sent user info for another client")
        return claims

    async def check(self, settings: OIDC, redirect_uri: str) -> None:
        """Verify what the provider publishes, and the client. Raises Temporary or ConfigError."""
        async with open_requests(
            settings.title, settings.proxy_url, self._clock, self._limits.provider_timeout
        ) as requests:
            metadata = await self._metadata(settings, requests)
            await requests.get(_endpoint(settings, metadata, "jwks_uri"))
            if not settings.authorization_endpoint:
                _endpoint(settings, metadata, "authorization_endpoint")
            endpoint = settings.token_endpoint or _endpoint(settings, metadata, "token_endpoint")
            form = {"grant_type": "authorization_code", "code": "check", "redirect_uri": redirect_uri}
            await self._as_client(
                settings,
                metadata,
                lambda auth, client: check_client(requests, endpoint, form | client, auth=auth),
            )

    async def _metadata(self, settings: OIDC, requests: Requests) -> dict[str, Any]:
        issuer = settings.issuer.rstrip("/")
        url = f"{issuer}/.well-known/openid-configuration"
        try:
            metadata = await self._read(url, settings.proxy_url, requests, self._limits.provider_max_age)
        except Absent:
            raise ConfigError(
                f"{settings.title} publishes no metadata of OpenID Connect at {url} (HTTP 404)",
                remedy="correct `issuer` in the configuration of single sign-on",
            ) from None
        if str(metadata.get("issuer", "")).rstrip("/") != issuer:
            raise ConfigError(
                f"{settings.title} calls itself {str(metadata.get('issuer'))[:200]}, not {issuer}",
                remedy="correct `issuer` in the configuration of single sign-on",
            )
        return metadata

    async def _read(self, url: str, proxy: str, requests: Requests, max_age: float) -> dict[str, Any]:
        async with self._lock:
            read_at, document = self._documents.get((url, proxy), (0.0, None))
            age = self._clock.monotonic() - read_at
            if isinstance(document, PipecdError) and age < min(_FAILURE_AGE, max_age):
                raise document
            if isinstance(document, dict) and age < max_age:
                return document
        try:
            document = await requests.get(url)
        except PipecdError as error:
            self._documents[url, proxy] = self._clock.monotonic(), error
            raise
        self._documents[url, proxy] = self._clock.monotonic(), document
        return document

    async def _as_client(
        self,
        settings: OIDC,
        metadata: Mapping[str, Any],
        send: Callable[[tuple[str, str] | None, dict[str, str]], Awaitable[_Result]],
    ) -> _Result:
        """Send a request with the client's id and secret, in the way that the provider accepts them.

        What a provider publishes says what it can do, not which way is registered for this client.
        """
        client = settings.issuer, settings.client_id
        ways = _authentications(settings, metadata)
        if len(ways) > 1 and client in self._in_form:
            ways.reverse()
        for way in ways[:-1]:
            try:
                return await send(*way)
            except WrongClient:
                continue
        auth, fields = ways[-1]
        result = await send(auth, fields)
        if len(ways) > 1:
            if auth is None:
                self._in_form[client] = True
            else:
                self._in_form.pop(client, None)
        return result

    async def _verify(
        self, settings: OIDC, metadata: Mapping[str, Any], requests: Requests, token: str, nonce: str | None
    ) -> dict[str, Any]:
        """The claims of the ID token; without `nonce` for that of a refreshed sign-in. Raises Temporary."""
        required = ("exp", "iat", "sub", "aud", "iss")
        claims = await self._decode(settings, metadata, requests, token, "ID token", required)
        try:
            self._check_times(settings, claims)
        except (ValueError, TypeError, OverflowError) as error:
            raise Temporary(f"{settings.title} sent an invalid ID token: {str(error)[:200]}") from None
        sent = str(claims.get("nonce", ""))
        if nonce is not None and not hmac.compare_digest(sent.encode(), nonce.encode()):
            raise Temporary(f"{settings.title} sent an ID token of another sign-in; sign in again")
        if claims.get("azp", settings.client_id) != settings.client_id:
            raise Temporary(f"{settings.title} sent an ID token for another client")
        return claims

    async def _decode(
        self,
        settings: OIDC,
        metadata: Mapping[str, Any],
        requests: Requests,
        token: str,
        what: str,
        required: Sequence[str],
        *,
        verify_aud: bool = True,
    ) -> dict[str, Any]:
        """The claims of a token that the provider signed. Does not check times. Raises Temporary."""
        longest = self._limits.provider_max_age
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in _ALGORITHMS:
                raise Temporary(
                    f"{settings.title} signs with {str(header.get('alg'))[:20]}, which is not safe; choose"
                    " RS256 or another algorithm with a public key for the client at the provider"
                )
            # The second time for a key that was replaced, perhaps by one of the same name.
            for max_age in (longest, min(_KEYS_INTERVAL, longest)):
                for key in await self._keys(settings, metadata, requests, header, max_age):
                    try:
                        claims: dict[str, Any] = _decoder.decode(
                            token,
                            key,
                            algorithms=[str(header["alg"])],
                            audience=settings.client_id if verify_aud else None,
                            issuer=str(metadata["issuer"]),
                            options={
                                "require": list(required),
                                "verify_exp": False,
                                "verify_iat": False,
                                "verify_nbf": False,
                                "verify_aud": verify_aud,
                            },
                        )
                    except jwt.InvalidSignatureError:
                        continue
                    return claims
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError) as error:
            raise Temporary(f"{settings.title} sent an invalid {what}: {str(error)[:200]}") from None
        raise Temporary(f"{settings.title} signed with a key that it does not publish")

    def _check_times(self, settings: OIDC, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        starts = max(_time(claims["iat"]), _time(claims.get("nbf", 0)))
        ends = _time(claims["exp"])
        if starts > now + _LEEWAY:
            raise Temporary(
                f"the clocks of {settings.title} and the control plane differ by {starts - now:.0f} s;"
                " set them by NTP"
            )
        if ends < now - _LEEWAY:
            raise Temporary(
                f"{settings.title} sent an ID token that expired {now - ends:.0f} s ago;"
                " check the clocks of both machines"
            )

    async def _keys(
        self,
        settings: OIDC,
        metadata: Mapping[str, Any],
        requests: Requests,
        header: Mapping[str, Any],
        max_age: float,
    ) -> Sequence[Any]:
        """The published keys that can have signed a token with `header`."""
        url = _endpoint(settings, metadata, "jwks_uri")
        algorithm = str(header["alg"])
        document = await self._read(url, settings.proxy_url, requests, max_age)
        named = "EdDSA" if algorithm == _ED25519 else algorithm
        return [
            key.key
            for key in jwt.PyJWKSet.from_dict(_with_names_of_the_library(document)).keys
            if key.public_key_use in (None, "sig")
            and header.get("kid") in (None, key.key_id)
            and (key.algorithm_name == named or (key.key_type == "RSA" and algorithm[:2] in ("RS", "PS")))
        ]


def _with_names_of_the_library(document: Mapping[str, Any]) -> dict[str, Any]:
    """The published keys; they may have any form."""
    keys = document.get("keys")
    if not isinstance(keys, list):
        return dict(document)
    renamed = [
        {**key, "alg": "EdDSA"} if isinstance(key, dict) and key.get("alg") == _ED25519 else key
        for key in keys
    ]
    return {**document, "keys": renamed}


class _Decoder(jwt.PyJWT):
    def __init__(self) -> None:
        super().__init__()
        self._jws.register_algorithm(_ED25519, OKPAlgorithm())


_decoder = _Decoder()


def identity_of(settings: OIDC, claims: Mapping[str, Any], *, named: bool = True) -> Identity:
    """The user that `claims` describe. Raises Temporary if they name none, and must be `named`."""
    names = (settings.username_claim_key,) if settings.username_claim_key else _USERNAME_CLAIMS
    username = _first_text(claims, names)
    if named and not username:
        raise Temporary(f"{settings.title} sent no user name in {', '.join(names)}")
    avatars = (settings.avatar_url_claim_key,) if settings.avatar_url_claim_key else _AVATAR_CLAIMS
    avatar = _first_text(claims, avatars, 500)
    return Identity(
        username=username,
        avatar_url=avatar if avatar.startswith("https://") else "",
        groups=_groups(settings, claims),
    )


def groups_in(settings: OIDC, id_token: Mapping[str, Any], user_info: Mapping[str, Any]) -> str:
    """Which document has the roles claim that counts: `id_token`, `user_info`, or none."""
    merged = {**id_token, **user_info}
    for key in roles_claims(settings):
        if find_claim(merged, key) is not None:
            return "id_token" if find_claim(user_info, key) is None else "user_info"
    return ""


def roles_claims(settings: OIDC) -> Sequence[str]:
    """The claims that may have the groups; the first that is there counts."""
    return (settings.roles_claim_key,) if settings.roles_claim_key else _ROLES_CLAIMS


def _groups(settings: OIDC, claims: Mapping[str, Any]) -> Sequence[str]:
    """The values of the first roles claim that the token has."""
    keys = roles_claims(settings)
    for key in keys:
        value = find_claim(claims, key)
        if value is not None:
            values = value if isinstance(value, list) else [value]
            texts = [item for item in values if isinstance(item, str) and 0 < len(item) <= _MAX_LENGTH]
            return tuple(texts[:_MAX_GROUPS])
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, dict) and any(key in elsewhere for key in keys):
        raise Temporary(
            f"you are in more groups than {settings.title} puts into a token; ask its administrator to send"
            " application roles, or only the groups that are assigned to the application"
        )
    return ()


def find_claim(claims: Mapping[str, Any], key: str) -> Any:
    """The claim `key`, or else the one that it is the dotted path of; None if there is none."""
    if key in claims:
        return claims[key]
    value: Any = claims
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _first_text(claims: Mapping[str, Any], keys: Sequence[str], limit: int = _MAX_LENGTH) -> str:
    for key in keys:
        value = find_claim(claims, key)
        if isinstance(value, str) and value.strip() and len(value) <= limit:
            return value.strip()
    return ""


def _time(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a time is not a number")
    return float(value)


def _authentications(settings: OIDC, metadata: Mapping[str, Any]) -> list[_Authentication]:
    """The ways to send the client's id and secret to the token endpoint; the preferred one first."""
    basic = (quote(settings.client_id, safe=""), quote(settings.client_secret, safe="")), dict[str, str]()
    form = None, {"client_id": settings.client_id, "client_secret": settings.client_secret}
    methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if "client_secret_basic" not in methods:
        return [form]
    return [basic, form] if "client_secret_post" in methods else [basic]


def _check_issuer(settings: OIDC, metadata: Mapping[str, Any], issuer: str | None) -> None:
    """Verify that the provider that was asked has sent the code (RFC 9207). Raises Unauthenticated."""
    if issuer is None and metadata.get("authorization_response_iss_parameter_supported") is True:
        raise Unauthenticated(f"{settings.title} did not send its name with the code; sign in again")
    if issuer is not None and issuer != metadata["issuer"]:
        raise Unauthenticated(f"another provider than {settings.title} sent the code; sign in again")


def _endpoint(settings: OIDC, metadata: Mapping[str, Any], name: str) -> str:
    endpoint = metadata.get(name)
    if not isinstance(endpoint, str) or not endpoint:
        raise ConfigError(f"{settings.title} publishes no {name}")
    return endpoint
