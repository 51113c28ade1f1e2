"""A session that is ended at one replica ends at the others, by a notice of the database alone."""

from contextlib import AsyncExitStack
from pathlib import Path

import sqlalchemy as sa

from pipecd.controlplane.settings import AuthSettings, FeedSettings, Settings, StoreSettings
from pipecd.schema.model.project_pb2 import Project
from tests.actors import TESTER
from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.contracts.test_notifications import wait_until_listening
from tests.controlplane.server_fixture import PASSWORD_HASH, USER, Console, control_plane
from tests.controlplane.test_sessions import is_signed_in
from tests.eventually import eventually

TEAM = "team"
#: Nothing is read again in time: neither a session by its age, nor changes by polling.
SETTINGS = Settings(
    auth=AuthSettings(credential_max_age=3600.0),
    store=StoreSettings(feed=FeedSettings(poll_interval=3600.0, listen_retry_interval=0.01)),
)


async def sign_out(console: Console) -> None:
    assert (await console.http.post(f"{console.base}/auth/logout")).status_code == 303


async def end_sessions(console: Console) -> None:
    ids = [session.id for session in (await console.call("ListSessions")).sessions]
    await console.call("EndSessions", ids=ids)


async def test_a_session_ends_at_all_replicas(empty_postgres_url: str, tmp_path: Path) -> None:
    url = sa.make_url(empty_postgres_url)
    config = {"url": "postgresql://postgres@", "database": f"{url.database}?host={url.query['host']}"}
    datastore = {"type": "POSTGRESQL", "config": config}
    async with AsyncExitStack() as stack:
        planes = [
            await stack.enter_async_context(
                control_plane(tmp_path, settings=SETTINGS, datastore=datastore, sign_in=False)
            )
            for _ in range(2)
        ]
        stores = [plane.server.services.store for plane in planes]
        with stores[1].feed.subscribe() as changes:
            await wait_until_listening(changes, stores[0])
        project = Project(id=TEAM, created_at=1, updated_at=1)
        project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
        await stores[0].create(project, by=TESTER)
        for end in (sign_out, end_sessions):
            here, there = [Console(plane.url) for plane in planes]
            async with here.http, there.http:
                await here.sign_in(project=TEAM)
                there.http.cookies.set("token", here.http.cookies["token"])
                assert await is_signed_in(there), "it is known there"
                await end(here)

                async def has_ended(there: Console = there) -> bool:
                    return not await is_signed_in(there)

                await eventually(has_ended, within=60)
