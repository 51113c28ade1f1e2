"""ConsoleService and ProgramService: listing and ending the sessions of the console."""

from collections.abc import Mapping, Sequence

from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.auth.sessions import StoredSession
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.errors import Unauthenticated
from pipecd.model.browser import describe_browser
from pipecd.schema.pipecd.v1.sessions_pb2 import (
    EndOwnSessionsRequest,
    EndSessionsRequest,
    EndSessionsResponse,
    ListOwnSessionsRequest,
    ListSessionsRequest,
    ListSessionsResponse,
    UserSession,
)


async def list_all(services: Services, caller: Caller, request: ListSessionsRequest) -> ListSessionsResponse:
    stored = await services.sessions.list_stored(caller.project_id, request.username)
    return ListSessionsResponse(sessions=await _present(services, caller, stored))


async def list_own(services: Services, person: Person, _: ListOwnSessionsRequest) -> ListSessionsResponse:
    return ListSessionsResponse(sessions=await _present(services, person, await _own(services, person)))


async def end_any(services: Services, caller: Caller, request: EndSessionsRequest) -> EndSessionsResponse:
    ids: Sequence[str] = request.ids
    if request.all_others:
        ids = [stored.session.id for stored in await services.sessions.list_stored(caller.project_id)]
        ids = [id for id in ids if id != _current(caller)]
    ended = await services.sessions.end_all(caller.project_id, ids, by=caller.actor)
    return EndSessionsResponse(ended=ended)


async def end_own(services: Services, person: Person, request: EndOwnSessionsRequest) -> EndSessionsResponse:
    own = [stored.session.id for stored in await _own(services, person)]
    if request.all_others:
        ids = [id for id in own if id != person.session.id]
    else:
        ids = [id for id in own if id in request.ids]
    ended = await services.sessions.end_all(person.project_id, ids, by=person.actor)
    return EndSessionsResponse(ended=ended)


async def _own(services: Services, person: Person) -> Sequence[StoredSession]:
    """The person's sessions. Another user of single sign-on, or the static admin, may have the same name."""
    stored = await services.sessions.list_stored(person.project_id, person.username)
    return [candidate for candidate in stored if candidate.session.is_of_user(person.session)]


async def _present(
    services: Services, caller: Caller, stored: Sequence[StoredSession]
) -> Sequence[UserSession]:
    """Those whose credential and groups still give access."""
    presented = []
    for row in stored:
        session = row.session
        try:
            roles = await services.projects.current_roles(session)
        except Unauthenticated:
            continue
        presented.append(
            UserSession(
                id=session.id,
                username=session.username,
                source=session.source,
                roles=roles,
                groups=session.groups,
                started_at=row.started_at,
                last_seen_at=row.last_seen_at,
                expires_at=int(session.expires_at),
                address=row.address,
                last_address=row.last_address,
                browser=describe_browser(row.user_agent),
                user_agent=row.user_agent,
                current=session.id == _current(caller),
            )
        )
    return presented


def _current(caller: Caller) -> str:
    return caller.session.id if isinstance(caller, Person) else ""


#: Of both services.
HANDLERS: Mapping[str, Handler] = {"ListSessions": list_all, "EndSessions": end_any}
#: Of ConsoleService: any user may call them.
OWN_HANDLERS: Mapping[str, Handler] = {"ListOwnSessions": list_own, "EndOwnSessions": end_own}
