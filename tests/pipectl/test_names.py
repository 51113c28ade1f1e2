"""Names and beginnings of ids, where a command takes an id."""

import click
import pytest

from pipecd.client import Client
from pipecd.errors import Conflict, NotFound
from pipecd.pipectl.names import find_application, find_deployment, find_piped
from pipecd.schema.api.applications_pb2 import AddApplicationRequest, DeleteApplicationRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, ControlPlane

UNKNOWN = "0b7f5d9e-1f7c-4d1e-9a55-3b7d2f1c8e42"


async def add(client: Client, piped_id: str, name: str, path: str = "") -> str:
    request = AddApplicationRequest(
        name=name,
        piped_id=piped_id,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path=path or f"apps/{name}"),
        kind=ApplicationKind.TERRAFORM,
        platform_provider="terraform",
    )
    return (await client.call(client.api.AddApplication, request)).application_id


async def delete(client: Client, id: str) -> None:
    await client.call(client.api.DeleteApplication, DeleteApplicationRequest(application_id=id))


async def test_an_application_is_found_by_its_name_and_by_the_beginning_of_its_id(
    client: Client, piped_id: str
) -> None:
    shop = await add(client, piped_id, "shop")
    await add(client, piped_id, "shop-2")
    assert await find_application(client, "shop") == shop
    assert await find_application(client, shop[:8]) == shop
    assert await find_application(client, shop[:13]) == shop
    for unknown in (UNKNOWN, UNKNOWN[:8], "sho", "SHOP", shop[:7]):
        assert await find_application(client, unknown) == unknown


async def test_a_name_of_several_applications_is_refused_with_their_ids(
    client: Client, piped_id: str
) -> None:
    first = await add(client, piped_id, "shop", "eu/shop")
    second = await add(client, piped_id, "shop", "us/shop")
    with pytest.raises(Conflict, match="application name shop is not unique") as caught:
        await find_application(client, "shop")
    assert f"{first} (demo/eu/shop)" in str(caught.value) and f"{second} (demo/us/shop)" in str(caught.value)
    await delete(client, first)
    assert await find_application(client, "shop") == second, "a deleted application does not count"
    await delete(client, second)
    assert await find_application(client, "shop") in (first, second), "so that it can be shown"


async def test_an_application_named_like_the_id_of_another_is_not_taken_for_it(
    client: Client, piped_id: str
) -> None:
    shop = await add(client, piped_id, "shop")
    await add(client, piped_id, shop, "hostile")
    assert await find_application(client, shop) == shop


async def test_an_agent_is_found_by_its_name_and_by_the_beginning_of_its_id(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    assert await find_piped(client, "home") == piped_id
    assert await find_piped(client, piped_id[:8]) == piped_id
    assert await find_piped(client, "away") == "away"
    await plane.register_piped("home")
    with pytest.raises(Conflict, match="piped home is not unique"):
        await find_piped(client, "home")


async def test_a_deployment_is_the_last_one_of_an_application_or_named_by_its_id(
    plane: ControlPlane, client: Client, piped_id: str
) -> None:
    shop = await add(client, piped_id, "shop")
    with pytest.raises(NotFound, match="application shop has no deployments"):
        await find_deployment(client, "", "shop")
    ids = [f"{number}b7f5d9e-1f7c-4d1e-9a55-3b7d2f1c8e42" for number in range(3)]
    for number, id in enumerate(ids):
        deployment = Deployment(
            id=id, application_id=shop, piped_id=piped_id, project_id=PROJECT, created_at=100 + number
        )
        await plane.server.services.store.create(deployment, by=TESTER)
    assert await find_deployment(client, "", "shop") == ids[2]
    assert await find_deployment(client, ids[0][:8], "") == ids[0]
    assert await find_deployment(client, "deployment-1", "") == "deployment-1"
    for arguments in (("", ""), (ids[0], "shop")):
        with pytest.raises(click.UsageError, match="--deployment-id, or --app-id"):
            await find_deployment(client, *arguments)
