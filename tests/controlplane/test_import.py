"""`pipecd import` from a database as PipeCD's control plane writes it, here in MariaDB."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import pymysql
import pytest
import yaml
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from grpc import aio

from pipecd import proto_json
from pipecd.config.controlplane import KIND
from pipecd.config.document import parse_kind
from pipecd.controlplane.moving import mysql
from pipecd.controlplane.moving.cli import command
from pipecd.errors import ConfigError, Temporary
from pipecd.quickstart.git_server import GitServer
from pipecd.schema.agent.deployments_pb2 import ListNotCompletedDeploymentsRequest
from pipecd.schema.api.applications_pb2 import ListApplicationsRequest
from pipecd.schema.api.service_pb2_grpc import APIServiceStub
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import LAMBDA
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.model.project_pb2 import Project, ProjectStaticUser
from tests.controlplane.server_fixture import PROJECT, control_plane
from tests.controlplane.test_agents import Agent
from tests.eventually import eventually
from tests.pipectl.pipectl_process import Pipectl
from tests.repo import Clone
from tests.world import REPOSITORY, World

TABLES = ("Project", "Piped", "APIKey", "Application", "Deployment", "DeploymentChain", "DeploymentTrace")
PIPED_KEY, API_KEY = "a-key-of-pipecd", "an-api-key-of-pipecd"
PIPED_ID, API_KEY_ID = str(uuid4()), str(uuid4())


def hashed(key: str) -> str:
    return bcrypt.hashpw(key.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a server without records."""
    program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("MariaDB is not installed, but CI requires it")
        pytest.skip("MariaDB is not installed (Debian: apt install mariadb-server)")
    folder = tmp_path_factory.mktemp("mariadb")
    data, socket = folder / "data", folder / "s"
    user = f"--user={'root' if os.geteuid() == 0 else os.environ.get('USER', '')}"
    # At its start, a server removes the temporary tables of all others that have the same folder for them.
    environment = {**os.environ, "TMPDIR": str(folder)}
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", user]
    install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True, timeout=300, env=environment)
    start = [program, "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking", user]
    start += [f"--pid-file={folder}/pid", "--innodb-buffer-pool-size=16M", "--skip-log-bin"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(start, stderr=log, env=environment)
    ping = ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "--wait=120", "ping"]
    try:
        subprocess.run(ping, check=True, capture_output=True, timeout=300)
        yield socket
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def database(server: Path) -> Iterator[Any]:
    """A connection to a new database with PipeCD's tables."""
    name = f"t{uuid4().hex}"
    connection = pymysql.connect(unix_socket=str(server), user="root", autocommit=True, charset="utf8mb4")
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        connection.select_db(name)
        for table in (*TABLES, "Event"):
            cursor.execute(f"CREATE TABLE {table} (Id BINARY(16) PRIMARY KEY, Data JSON NOT NULL)")
        connection.name = name
        yield connection
        cursor.execute(f"DROP DATABASE {name}")


def add(database: Any, message: Message | str, table: str = "") -> None:
    text = message if isinstance(message, str) else proto_json.dumps(message)
    id = getattr(message, "id", "")
    key = UUID(id).bytes if len(id) == 36 else uuid4().bytes
    name = table or type(message).__name__
    with database.cursor() as cursor:
        cursor.execute(f"INSERT INTO {name} (Id, Data) VALUES (%s, %s)", (key, text))


def fill(database: Any, deployments: int = 3) -> None:
    add(database, Project(id="moved", desc="Über uns"))
    add(
        database, Piped(id=PIPED_ID, name="home", project_id=PROJECT, keys=[PipedKey(hash=hashed(PIPED_KEY))])
    )
    add(
        database,
        APIKey(id=API_KEY_ID, name="ci", project_id=PROJECT, key_hash=hashed(f"{API_KEY_ID}.{API_KEY}")),
    )
    add(database, Application(id="a1", name="shop", project_id=PROJECT, piped_id=PIPED_ID, updated_at=7))
    for number in range(deployments):
        add(
            database,
            Deployment(
                id=f"d{number}",
                application_id="a1",
                project_id=PROJECT,
                piped_id=PIPED_ID,
                status=DeploymentStatus.DEPLOYMENT_SUCCESS,
                created_at=1,
                updated_at=1000 + number * 7 % deployments,
            ),
        )
    add(database, Event(id="e1", name="image", data="v1", project_id=PROJECT, created_at=1))


async def test_an_agent_a_key_and_an_admin_of_pipecd_work_after_an_import(
    tmp_path: Path, server: Path, database: Any
) -> None:
    """The programs themselves: the agent deploys an imported application that `pipectl` asks it to sync."""
    password = "of-pipecd"
    admin = ProjectStaticUser(username="admin", password_hash=hashed(password))
    add(database, Project(id="moved", static_admin=admin))
    add(
        database,
        Piped(id=PIPED_ID, name="home", project_id="moved", keys=[PipedKey(hash=hashed(PIPED_KEY))]),
    )
    key = f"{API_KEY_ID}.{API_KEY}"
    add(
        database,
        APIKey(id=API_KEY_ID, name="ci", project_id="moved", role=APIKey.READ_WRITE, key_hash=hashed(key)),
    )
    shop = Application(
        id=str(uuid4()),
        name="shop",
        project_id="moved",
        piped_id=PIPED_ID,
        kind=LAMBDA,
        platform_provider="lambda",
        git_path=ApplicationGitPath(
            repo=ApplicationGitRepository(id=REPOSITORY), path="shop", config_filename="app.pipecd.yaml"
        ),
    )
    add(database, shop)
    plane_folder, key_file = tmp_path / "plane", tmp_path / "api-key"
    plane_folder.mkdir()
    key_file.write_text(key)
    result = await asyncio.to_thread(run, plane_folder, server, database)
    assert result.exit_code == 0, result.output
    with GitServer(tmp_path / "git") as git:
        clone = Clone(tmp_path / "clone", git.url(REPOSITORY), bare=git.create(REPOSITORY))
        stages = [{"name": "SCRIPT_RUN", "with": {"run": "echo hello"}}]
        spec = {"name": "shop", "trigger": {"onCommit": {"disabled": True}}, "pipeline": {"stages": stages}}
        document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "LambdaApp", "spec": spec}
        files = {"shop/app.pipecd.yaml": yaml.safe_dump(document)}
        await asyncio.to_thread(clone.commit_and_push, "Begin", files)
        async with control_plane(plane_folder, sign_in=False) as plane:
            await plane.console.sign_in("moved", "admin", password)
            w = World(
                console=plane.console,
                clone=clone,
                piped_id=PIPED_ID,
                plane=plane,
                stop_control_plane=plane.console.http.aclose,
                git=git,
                folder=tmp_path,
                key=PIPED_KEY,
            )
            provider = {"name": "lambda", "type": "LAMBDA", "config": {"region": "eu-central-1"}}
            async with w.agent(projectID="moved", platformProviders=[provider]):
                await eventually(w.has_repositories)
                pipectl = Pipectl(plane, key_file)
                synced = await pipectl("application", "sync", f"--app-id={shop.id}", "--timeout=4m")
                assert synced.code == 0, synced.err
                deployment = await w.wait_for_deployment(shop.id)
            assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployment.status_reason
            assert [stage.name for stage in deployment.stages] == ["SCRIPT_RUN"]


def run(
    folder: Path, server: Path, database: Any, *options: str, text: str = "", old_files: str = "pipecd-files"
) -> Result:
    own, theirs = folder / "control-plane.yaml", folder / "pipecd.yaml"
    datastore = {"type": "SQLITE", "config": {"path": str(folder / "pipecd.db")}}
    header = {"apiVersion": "pipecd.dev/v1beta1", "kind": "ControlPlane"}
    filestore = {"type": "LOCAL", "config": {"path": str(folder / "pipecd-files")}}
    own.write_text(yaml.safe_dump({**header, "spec": {"datastore": datastore, "filestore": filestore}}))
    mysql = {"type": "MYSQL", "config": {"url": f"root@unix({server})", "database": database.name}}
    filestore = {"type": "LOCAL", "config": {"path": str(folder / old_files)}}
    theirs.write_text(yaml.safe_dump({**header, "spec": {"datastore": mysql, "filestore": filestore}}))
    arguments = [f"--config-file={own}", f"--from-config-file={theirs}", *options]
    return CliRunner().invoke(command, arguments, input=text)


async def test_agents_and_keys_go_on_working_after_an_import(
    tmp_path: Path, server: Path, database: Any
) -> None:
    fill(database, deployments=mysql.BATCH + 20)
    result = await asyncio.to_thread(run, tmp_path, server, database)
    assert result.exit_code == 0, result.output
    assert f"Deployment           {mysql.BATCH + 20} imported, 0 existed already" in result.output
    again = await asyncio.to_thread(run, tmp_path, server, database)
    assert again.exit_code == 0
    assert f"0 imported, {mysql.BATCH + 20} existed already" in again.output
    async with control_plane(tmp_path) as plane, aio.insecure_channel(plane.address) as channel:
        agent = Agent(channel, PIPED_ID, PIPED_KEY)
        assert await agent.code("ListNotCompletedDeployments", ListNotCompletedDeploymentsRequest()) == "OK"
        api = APIServiceStub(channel)
        metadata = [("authorization", f"API-KEY {API_KEY_ID}.{API_KEY}")]
        listed = await api.ListApplications(ListApplicationsRequest(), metadata=metadata)
        assert [application.name for application in listed.applications] == ["shop"]
        page = await plane.console.call("ListDeployments", page_size=20)
        times = [deployment.updated_at for deployment in page.deployments]
        assert times == sorted(times, reverse=True) and len(set(times)) > 1, "the order is that of PipeCD"
        assert await plane.server.services.insights.count(PROJECT) == mysql.BATCH + 20
        project = await plane.server.services.projects.get("moved")
        assert project.desc == "Über uns"


def test_a_record_that_cannot_be_imported_is_named_and_stops_no_other(
    tmp_path: Path, server: Path, database: Any
) -> None:
    fill(database)
    for id in ("d-a", "d-b"):
        running = Deployment(
            id=id, application_id="a1", project_id=PROJECT, status=DeploymentStatus.DEPLOYMENT_RUNNING
        )
        add(database, running)
    add(database, '{"id": "x", "name": ["\\u001b[31m"]}', "Application")
    add(database, '{"name": "without"}', "Application")
    result = run(tmp_path, server, database)
    assert result.exit_code == 1
    assert "Deployment             4 imported, 0 existed already, 1 failed" in result.output
    assert "already has another active deployment" in result.output
    assert "Application            1 imported, 0 existed already, 2 failed" in result.output
    assert "Application: a record has no id" in result.output
    assert "\x1b" not in result.output
    again = run(tmp_path, server, database)
    assert "Deployment             0 imported, 4 existed already, 1 failed" in again.output


def test_objects_of_another_store_are_copied(tmp_path: Path, server: Path, database: Any) -> None:
    old, new = tmp_path / "old", tmp_path / "pipecd-files"
    objects = {
        "log/d0/s0/0.txt": '{"index":1,"log":"hello","created_at":1}\nEOL',
        "application-shared-objects/a1/plugin/key.json": "{}",
        "latest-analysis-result/a1.json": '{"startTime": 5}',
        "command-output/c1.json": "{}",
    }
    for path, content in objects.items():
        (old / path).parent.mkdir(parents=True, exist_ok=True)
        (old / path).write_text(content)
    changed = new / "latest-analysis-result/a1.json"
    changed.parent.mkdir(parents=True)
    changed.write_text("newer")
    result = run(tmp_path, server, database, old_files="old")
    assert "Object                 2 imported, 1 existed already" in result.output
    assert (new / "log/d0/s0/0.txt").read_text() == objects["log/d0/s0/0.txt"]
    assert changed.read_text() == "newer", "what exists is not changed"
    assert not (new / "command-output").exists()
    again = run(tmp_path, server, database, old_files="old")
    assert "Object                 0 imported, 3 existed already" in again.output


def test_roles_with_label_conditions_are_asked_about(tmp_path: Path, server: Path, database: Any) -> None:
    resource = ProjectRBACResource(type=ProjectRBACResource.APPLICATION, labels={"env": "dev"})
    role = ProjectRBACRole(name="DevOnly", policies=[ProjectRBACPolicy(resources=[resource])])
    add(database, Project(id="moved", rbac_roles=[role]))
    refused = run(tmp_path, server, database, text="n\n")
    assert refused.exit_code == 1
    assert "moved: DevOnly: env:dev" in refused.output
    assert not (tmp_path / "pipecd.db").exists()
    assert run(tmp_path, server, database, "--yes").exit_code == 0


#: As PipeCD's control plane encodes it: with its own key for searches, numbers of enums, and escaped HTML.
DEPLOYMENT = """{"id":"d1","application_id":"a1","project_id":"shop","kind":5,"labels":{"env":"dev"},\
"trigger":{"commit":{"hash":"c1","message":"\\u003cb\\u003e \\u2028","created_at":1795868627}},"status":4,\
"stages":[{"id":"r","name":"ROLLBACK","predefined":true,"status":2,"available_operation":2}],\
"metadata_v2":{"shared":{"keyValues":{"a":"1"}},"plugins":{"ecs":{"keyValues":{"b":"{\\"c\\":1}"}}}},\
"completed_at":1795869287,"created_at":1795869227,"updated_at":1795869288,"_extra":"web"}"""


async def test_a_record_has_all_that_pipecd_wrote(tmp_path: Path, server: Path, database: Any) -> None:
    add(database, DEPLOYMENT, "Deployment")
    result = await asyncio.to_thread(run, tmp_path, server, database)
    assert result.exit_code == 0, result.output
    async with control_plane(tmp_path) as plane:
        deployment = (await plane.console.call("GetDeployment", deployment_id="d1")).deployment
        expected = json.loads(DEPLOYMENT)
        del expected["_extra"]
        assert proto_json.to_object(deployment) == expected


def test_a_missing_table_is_one_sentence(tmp_path: Path, server: Path, database: Any) -> None:
    with database.cursor() as cursor:
        cursor.execute("DROP TABLE Piped")
    result = run(tmp_path, server, database)
    assert "PipeCD's database refused a query" in str(result.exception)
    assert "Piped" in str(result.exception)


def read_address(type_: str, **settings: str) -> mysql.Address:
    spec = {"datastore": {"type": type_, "config": settings}}
    text = yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": KIND, "spec": spec})
    return mysql.read_address(parse_kind(text, "pipecd.yaml", KIND, program="PipeCD's control plane"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("root:pass@tcp(db:3307)", ("db", 3307, "", "root", "pass")),
        ("root:p@ss:w/o@tcp(db)", ("db", 3306, "", "root", "p@ss:w/o")),
        ("tcp([::1]:3306)", ("::1", 3306, "", "", "")),
        ("tcp([::1])", ("::1", 3306, "", "", "")),
        ("root@tcp", ("127.0.0.1", 3306, "", "root", "")),
        ("root@unix(/run/s)", ("127.0.0.1", 3306, "/run/s", "root", "")),
        ("root@unix", ("127.0.0.1", 3306, "/tmp/mysql.sock", "root", "")),
        ("root:test@", ("127.0.0.1", 3306, "", "root", "test")),
    ],
)
def test_addresses_are_those_of_gos_driver(url: str, expected: tuple[Any, ...]) -> None:
    for address in (
        read_address("MYSQL", url=url, database="shop"),
        read_address("MYSQL", url=f"{url}/shop"),
    ):
        assert (address.host, address.port, address.socket, address.user, address.password) == expected
        assert address.database == "shop"


@pytest.mark.parametrize(("url", "port"), [("db:3307", 3307), ("db", 3306)])
def test_with_files_for_user_and_password_the_address_is_only_the_host(
    tmp_path: Path, url: str, port: int
) -> None:
    (tmp_path / "user").write_text("pipecd")
    (tmp_path / "password").write_text("p@ss")
    files = {"usernameFile": f"{tmp_path}/user", "passwordFile": f"{tmp_path}/password"}
    address = read_address("MYSQL", url=url, database="shop", **files)
    assert address == mysql.Address(host="db", port=port, user="pipecd", password="p@ss", database="shop")


def test_wrong_sources_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not from FIRESTORE"):
        read_address("FIRESTORE", url="x")
    with pytest.raises(ConfigError, match="none of MySQL") as raised:
        read_address("MYSQL", url="https://user:secret@db")
    assert "secret" not in str(raised.value)
    address = mysql.Address(socket=str(tmp_path / "none"), database="pipecd", password="secret")
    with pytest.raises(Temporary, match="does not accept the connection") as failed, mysql.connected(address):
        pass
    assert "secret" not in str(failed.value)


def test_an_error_names_the_file_whose_key_is_wrong(tmp_path: Path) -> None:
    own, theirs = tmp_path / "control-plane.yaml", tmp_path / "pipecd.yaml"
    header = "apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n"
    own.write_text(header)
    theirs.write_text(
        header
        + "  datastore: {type: MYSQL, config: {url: u@unix(none), database: d}}\n"
        + "  filestore:\n    type: S3\n"
        + "    config: {bucket: b, accessKeyFile: /nowhere, secretKeyFile: /nowhere}\n"
    )
    result = CliRunner().invoke(command, [f"--config-file={own}", f"--from-config-file={theirs}"])
    key = "spec.filestore.config.accessKeyFile"
    assert str(result.exception).startswith(f"{theirs}:7: {key}: /nowhere cannot be read")
