"""A provider of single sign-on on loopback: OpenID Connect and GitHub's API, with the faults of tests."""

import asyncio
import base64
import hashlib
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "pipecd", "the secret of the client"
#: Teams per page of GitHub's API.
PAGE_SIZE = 2


@cache
def signing_key(number: int = 0) -> Any:
    """Each number has its own key. Created on first use, because that takes 0.1 s."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


_signer = jwt.PyJWS()
_signer.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())


@dataclass
class SignInProvider:
    url: str = ""
    #: Claims of the ID token; the ones of `user_info` are returned by that endpoint.
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u1", "preferred_username": "ada"})
    user_info: dict[str, Any] = field(default_factory=dict)
    #: What is changed in the token: `nonce`, `iss`, `aud`, `exp`, `iat`, …
    forged: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    key: Any = field(default_factory=signing_key)
    key_id: str | None = "k1"
    #: The path of the issuer, and what is changed in the provider's metadata.
    path: str = ""
    metadata_changes: dict[str, Any] = field(default_factory=dict)
    #: How the client's secret is accepted: `basic`, `form`, or both.
    accepts: frozenset[str] = frozenset(("basic", "form"))
    #: Whether the issuer is sent with the code.
    sends_issuer: bool = False
    #: Changes of the claims of a signed user info; None: it is not signed.
    signed_user_info: dict[str, Any] | None = None
    #: The error that it sends instead of a code.
    refuses_with: str = ""
    #: Replaces the response of a path.
    replaced: dict[str, Response] = field(default_factory=dict)
    #: Paths that do not respond.
    silent: set[str] = field(default_factory=set)
    teams: list[str] = field(default_factory=list)
    organizations: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    #: Lifetime of access tokens in seconds; None means that they are not sent, and tokens do not expire.
    expires_in: int | None = None
    #: Whether a sign-in gives a refresh token. Each is valid once, and is replaced then.
    refreshes: bool = False
    #: Whether a refreshed sign-in has an ID token.
    refreshes_id_token: bool = True
    #: The tokens that are valid, and when access tokens expire. Empty: the provider has ended all sign-ins.
    access_tokens: dict[str, float] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    user_id: int = 1
    _issued: int = 0

    def reset(self) -> None:
        fresh = SignInProvider(url=self.url, now=self.now)
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))

    async def respond(self, request: Request) -> Response:
        path = request.url.path.removeprefix(self.path)
        self.requests.append(path)
        if path in self.silent:
            await asyncio.sleep(3600)
        if path in self.replaced:
            return self.replaced[path]
        match path:
            case "/.well-known/openid-configuration":
                return JSONResponse(self.metadata())
            case "/keys":
                public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signing_key().public_key()))
                return JSONResponse({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]})
            case "/authorize" | "/login/oauth/authorize":
                parameters = dict(request.query_params)
                code = f"code{len(self.codes)}"
                self.codes[code] = parameters
                issuer = {"iss": self.metadata()["issuer"]} if self.sends_issuer else {}
                answer = {"error": self.refuses_with} if self.refuses_with else {"code": code}
                query = urlencode({**answer, "state": parameters["state"], **issuer})
                return RedirectResponse(f"{parameters['redirect_uri']}?{query}", status_code=302)
            case "/token" | "/login/oauth/access_token":
                return await self.exchange(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.access_tokens.get(token, 0.0) <= self.now():
            return JSONResponse({"message": "Bad credentials"}, status_code=401)
        match path:
            case "/userinfo":
                info = {"sub": self.claims.get("sub"), **self.user_info}
                if self.signed_user_info is None:
                    return JSONResponse(info)
                info |= {"iss": self.metadata()["issuer"], "aud": CLIENT_ID, **self.signed_user_info}
                return Response(self.sign(info), media_type="application/jwt")
            case "/api/v3/user":
                user = {"login": "ada", "id": self.user_id, "avatar_url": "https://example.com/ada.png"}
                return JSONResponse(user)
            case "/api/v3/user/teams":
                items = [
                    {"slug": team.split("/")[1], "organization": {"login": team.split("/")[0]}}
                    for team in self.teams
                ]
                return self.page(request, items)
            case "/api/v3/user/orgs":
                return self.page(request, [{"login": name} for name in self.organizations])
        return PlainTextResponse("not found", status_code=404)

    def metadata(self) -> dict[str, Any]:
        base = self.url + self.path
        return {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "jwks_uri": f"{base}/keys",
            **self.metadata_changes,
        }

    def sign(self, claims: dict[str, Any]) -> str:
        key: Any = None if self.algorithm == "none" else self.key
        headers = {"kid": self.key_id} if self.key_id else {}
        return _signer.encode(json.dumps(claims).encode(), key, algorithm=self.algorithm, headers=headers)

    async def exchange(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '%20')}".encode()).decode()
        in_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        in_header = request.headers.get("authorization") == f"Basic {expected}"
        if not (in_header and "basic" in self.accepts) and not (in_form and "form" in self.accepts):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if form.get("grant_type") == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return JSONResponse({"error": "invalid_grant"}, 400)
            self.refresh_tokens.remove(form["refresh_token"])
            return self.tokens({}, with_id_token=self.refreshes_id_token)
        started = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            started is None
            or started["code_challenge"] != challenge.decode().rstrip("=")
            or started["redirect_uri"] != form["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant", "error_description": "code is invalid"}, 400)
        return self.tokens({"nonce": started.get("nonce", "")}, with_id_token=True)

    def tokens(self, claims: dict[str, Any], *, with_id_token: bool) -> Response:
        now = int(self.now())
        self._issued += 1
        access, refresh = f"access{self._issued}", f"refresh{self._issued}"
        self.access_tokens[access] = math.inf if self.expires_in is None else now + self.expires_in
        body: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        if self.refreshes:
            self.refresh_tokens.add(refresh)
            body["refresh_token"] = refresh
        if with_id_token:
            issuer = self.metadata()["issuer"]
            claims = {"iss": issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, **claims}
            body["id_token"] = self.sign({**claims, **self.claims, **self.forged})
        return JSONResponse(body)

    def end_sign_ins(self) -> None:
        self.access_tokens.clear()
        self.refresh_tokens.clear()

    def page(self, request: Request, items: list[Any]) -> Response:
        number = int(request.query_params.get("page", "1"))
        shown = items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        headers = {}
        if number * PAGE_SIZE < len(items):
            headers["link"] = f'<{self.url}{request.url.path}?page={number + 1}>; rel="next"'
        return JSONResponse(shown, headers=headers)


@asynccontextmanager
async def sign_in_provider() -> AsyncIterator[SignInProvider]:
    """Serve a provider while the block runs."""
    provider = SignInProvider()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = Starlette(routes=[Route("/{path:path}", provider.respond, methods=["GET", "POST"])])
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
        )
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server._serve([listener]))
            try:
                yield provider
            finally:
                server.should_exit = server.force_exit = True
                await serving


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
