"""Sign-in by GitHub or GitHub Enterprise Server. The groups are `organization/team` and `organization/*`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from pipecd.clock import Clock
from pipecd.controlplane.auth.sso.grants import CannotAsk, Grant, GrantEnded, StoreGrant
from pipecd.controlplane.auth.sso.providers import GitHub, Identity
from pipecd.controlplane.auth.sso.requests import (
    Requests,
    check_client,
    exchange_code,
    get_as_user,
    open_requests,
    refresh,
)
from pipecd.errors import Temporary

#: Pages of 100 teams or organizations.
_MAX_PAGES = 20


def authorization_url(settings: GitHub, redirect_uri: str, state: str, challenge: str) -> str:
    parameters = {
        "client_id": settings.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": "read:org",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{settings.web}/login/oauth/authorize?{urlencode(parameters)}"


async def check(settings: GitHub, redirect_uri: str, clock: Clock, timeout: float) -> None:
    """Verify the client, within `timeout` seconds. Raises Temporary or ConfigError."""
    async with open_requests(settings.title, settings.proxy_url, clock, timeout) as requests:
        form = {
            "client_id": settings.client_id,
            "client_secret": settings.client_secret,
            "code": "check",
            "redirect_uri": redirect_uri,
        }
        await check_client(requests, f"{settings.web}/login/oauth/access_token", form)


async def identify(
    settings: GitHub, code: str, redirect_uri: str, verifier: str, clock: Clock, timeout: float
) -> Identity:
    """The user that `code` stands for, within `timeout` seconds. Raises Temporary or ConfigError."""
    async with open_requests(settings.title, settings.proxy_url, clock, timeout) as requests:
        form = {
            "client_id": settings.client_id,
            "client_secret": settings.client_secret,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        token = await exchange_code(requests, f"{settings.web}/login/oauth/access_token", form)
        grant = Grant(subject="").renewed(token, clock.now())
        if not grant.access_token:
            raise Temporary(f"{settings.title} sent no access token")
        try:
            return await _read_user(settings, requests, grant)
        except GrantEnded as error:
            raise Temporary(str(error)) from None


async def identify_again(
    settings: GitHub, grant: Grant, clock: Clock, timeout: float, store: StoreGrant
) -> Identity:
    """The user of `grant` as it is now, within `timeout` seconds. `store` gets renewed tokens at once.

    Raises GrantEnded, CannotAsk, Temporary or ConfigError.
    """
    async with open_requests(settings.title, settings.proxy_url, clock, timeout) as requests:
        if not grant.access_is_valid(clock.now()):
            if not grant.refresh_token:
                raise CannotAsk
            form = {
                "client_id": settings.client_id,
                "client_secret": settings.client_secret,
                "grant_type": "refresh_token",
                "refresh_token": grant.refresh_token,
            }
            tokens = await refresh(requests, f"{settings.web}/login/oauth/access_token", form)
            grant = grant.renewed(tokens, clock.now())
            await store(grant)
        identity = await _read_user(settings, requests, grant)
    if identity.grant.subject != grant.subject:
        raise GrantEnded(f"{settings.title} sent another user")
    return identity


async def _read_user(settings: GitHub, requests: Requests, grant: Grant) -> Identity:
    """Raises GrantEnded or Temporary."""
    headers = {"authorization": f"Bearer {grant.access_token}", "accept": "application/vnd.github+json"}
    user = await get_as_user(requests, f"{settings.api}/user", headers)
    username = user.get("login")
    if not isinstance(username, str) or not username:
        raise Temporary(f"{settings.title} sent no user name")
    teams = await _read_pages(requests, f"{settings.api}/user/teams?per_page=100", headers)
    organizations = await _read_pages(requests, f"{settings.api}/user/orgs?per_page=100", headers)
    groups = [f"{team['organization']['login']}/{team['slug']}" for team in teams if _is_team(team)]
    groups += [f"{item['login']}/*" for item in organizations if isinstance(item.get("login"), str)]
    avatar = user.get("avatar_url")
    return Identity(
        username=username[:256],
        avatar_url=avatar if isinstance(avatar, str) and len(avatar) <= 500 else "",
        groups=tuple(groups),
        grant=replace(grant, subject=str(user.get("id"))),
    )


async def _read_pages(requests: Requests, url: str, headers: dict[str, str]) -> Sequence[dict[str, Any]]:
    """All pages. The token is not sent to another host than that of `url`. Raises Temporary."""
    host, items = urlsplit(url).netloc, list[dict[str, Any]]()
    for _ in range(_MAX_PAGES):
        response = await requests.send("GET", url, headers=headers)
        if response.status != 200 or not isinstance(response.body, list):
            raise Temporary(f"{requests.name} refused to list the user's teams (HTTP {response.status})")
        items += (item for item in response.body if isinstance(item, dict))
        url = response.next
        if not url:
            return items
        if urlsplit(url).netloc != host:
            raise Temporary(f"{requests.name} continues a list of teams on another host")
    raise Temporary(f"{requests.name} lists more than {_MAX_PAGES * 100} teams of the user")


def _is_team(team: dict[str, Any]) -> bool:
    organization = team.get("organization")
    return (
        isinstance(team.get("slug"), str)
        and isinstance(organization, dict)
        and isinstance(organization.get("login"), str)
    )
