"""Charts of other repositories and registries, and what a chart may not do."""

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError, Refused, Temporary, UserError
from pipecd.git.access import Access
from pipecd.git.credentials import Credentials, User
from pipecd.git.other_repositories import OtherRepositories
from pipecd.git.tree import Trees
from pipecd.model.downloads import ChartRegistry, ChartRepository, Downloads
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.render import capabilities
from pipecd.platforms.kubernetes.render.homes import helm_home
from pipecd.platforms.kubernetes.render.pull import pull_chart
from pipecd.platforms.kubernetes.render.value_files import download, is_allowed
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.quickstart.git_server import GitServer
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.applications import write_application
from tests.platforms.kubernetes.chart_server import PASSWORD, USER, ChartServer
from tests.platforms.kubernetes.helm import helm_directory
from tests.repo import Clone

SETTINGS = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    "data: {size: {{ .Values.size | default `none` | quote }}, chart: {{ .Chart.Version | quote }}}\n"
)


@pytest.fixture(autouse=True)
def helm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Helm is on PATH."""
    directory = helm_directory(tmp_path_factory)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return directory


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChartServer]:
    with ChartServer(tmp_path / "server") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        server.add("web", "1.0.0", {"settings.yaml": SETTINGS})
        server.add("web", "1.1.0", {"settings.yaml": SETTINGS})
        yield server


@pytest.fixture
def application(tmp_path: Path) -> Any:
    """Writes an application below `app` of a checkout."""

    def write(app_input: dict[str, Any], **files: str) -> Source:
        return write_application(tmp_path / "checkout", app_input, **files)

    return write


def downloads(server: ChartServer, tmp_path: Path) -> Downloads:
    return Downloads(
        chart_repositories=[
            ChartRepository(name="ours", address=server.url, username=USER, password=PASSWORD)
        ],
        chart_registries=[ChartRegistry(address=server.host, username=USER, password=PASSWORD)],
        cache=tmp_path / "cache",
    )


async def load(source: Source) -> DesiredState:
    desired: DesiredState = await platform.load_desired_state(source)
    return desired


async def data(source: Source) -> Any:
    [settings] = (await load(source)).manifests
    return settings.body["data"]


async def refusal(source: Source) -> str:
    with pytest.raises(UserError) as error:
        await load(source)
    return str(error.value)


# Chart repositories and registries


async def test_a_chart_of_a_repository_is_pulled_once(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    chart = {"repository": "ours", "name": "web", "version": "1.0.0"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    loaded = await asyncio.gather(*(data(source) for _ in range(3)))
    assert loaded == [{"size": "none", "chart": "1.0.0"}] * 3
    assert server.requests == ["/charts/index.yaml", "/charts/web-1.0.0.tgz"]


async def test_a_version_that_the_index_lacks_is_looked_for_once_more(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    def source(version: str) -> Source:
        chart = {"repository": "ours", "name": "web", "version": version}
        found: Source = application({"helmChart": chart})
        return replace(found, downloads=downloads(server, tmp_path))

    await data(source("1.0.0"))
    server.add("web", "2.0.0", {"settings.yaml": SETTINGS})
    assert (await data(source("2.0.0")))["chart"] == "2.0.0"
    message = await refusal(source("9.0.0"))
    assert message.startswith("app.pipecd.yaml: helm pull failed: ") and "9.0.0" in message
    assert PASSWORD not in message
    assert server.requests.count("/charts/index.yaml") == 3


async def test_without_a_version_the_newest_one_is_used_and_nothing_is_kept(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    chart = {"repository": "ours", "name": "web"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    assert (await data(source))["chart"] == "1.1.0"
    assert list((tmp_path / "cache" / "charts").glob("*.tgz")) == []
    assert platform.reads(source) is None


async def test_a_chart_of_a_registry_is_pulled_with_its_password(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    chart = {"repository": f"oci://{server.host}/oci", "name": "web", "version": "1.1.0"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    assert (await data(source))["chart"] == "1.1.0"
    pulled = len(server.requests)
    assert (await data(source))["chart"] == "1.1.0" and len(server.requests) == pulled
    without = replace(source, downloads=replace(source.downloads, chart_registries=[], cache=None))
    assert "basic credential not found" in await refusal(without)


async def test_a_certificate_is_verified_unless_the_repository_is_insecure(
    server: ChartServer, application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    chart = {"repository": "ours", "name": "web", "version": "1.0.0"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    assert "certificate" in await refusal(source)
    [repository] = source.downloads.chart_repositories
    insecure = replace(source.downloads, chart_repositories=[replace(repository, insecure=True)])
    assert (await data(replace(source, downloads=insecure)))["chart"] == "1.0.0"


async def test_a_repository_that_is_away_is_tried_again(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    chart = {"repository": "ours", "name": "web", "version": "1.0.0"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    server.__exit__()
    with pytest.raises(Temporary, match="could not reach a server"):
        await load(source)


async def test_a_repository_that_the_agent_does_not_have_is_named(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    chart = {"repository": "theirs", "name": "web"}
    source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
    assert await refusal(source) == (
        "app.pipecd.yaml: spec.input.helmChart.repository: the agent has no chart repository 'theirs';"
        " it has: ours; add it to spec.chartRepositories of the agent, or write oci://host/path"
    )


async def test_a_name_cannot_be_a_flag_or_a_path(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    for name in ("--ca-file=x", "../web", "a//b"):
        chart = {"repository": "ours", "name": name}
        source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
        assert "is not the name of a chart" in await refusal(source)


async def test_the_archives_that_were_not_used_for_longest_are_removed(
    server: ChartServer, application: Any, helm: Path, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.1.0"):
        chart = {"repository": "ours", "name": "web", "version": version}
        source = replace(application({"helmChart": chart}), downloads=downloads(server, tmp_path))
        await pull_chart(source, source.config.spec.input.helm_chart, helm / "helm", tmp_path, max_archives=1)
    assert len(list((tmp_path / "cache" / "charts").glob("*.tgz"))) == 1


def test_passwords_are_in_files_that_only_the_agent_can_read(server: ChartServer, tmp_path: Path) -> None:
    with helm_home(downloads(server, tmp_path)) as environment:
        assert PASSWORD not in str(environment)
        for name in ("HELM_REPOSITORY_CONFIG", "HELM_REGISTRY_CONFIG"):
            file = Path(environment[name])
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.exists()


async def test_a_dependency_is_downloaded_with_the_password_of_its_repository(
    server: ChartServer, application: Any, tmp_path: Path
) -> None:
    dependencies = [{"name": "web", "version": "1.0.0", "repository": server.url}]
    metadata = {"apiVersion": "v2", "name": "all", "version": "1.0.0", "dependencies": dependencies}
    files = {"app/chart/Chart.yaml": yaml.safe_dump(metadata)}
    source = application({"helmChart": {"path": "chart"}}, **files)
    source = replace(source, downloads=downloads(server, tmp_path))
    before = sorted(source.root.rglob("*"))
    assert (await data(source))["chart"] == "1.0.0"
    assert sorted(source.root.rglob("*")) == before
    assert platform.reads(source) is not None and not platform.writes_files(source.config)


# Charts of other Git repositories


@pytest.fixture
def charts(tmp_path: Path) -> Iterator[Clone]:
    with GitServer(tmp_path / "remote", users={"agent": "git-secret"}) as git:
        local = git.create("charts")
        clone = Clone(tmp_path / "clone", str(local))
        clone.commit_and_push(
            "Add",
            {
                "web/Chart.yaml": "{apiVersion: v2, name: web, version: 3.0.0, dependencies: [{name: common,"
                " version: 1.0.0, repository: 'file://../common'}]}",
                "web/templates/settings.yaml": SETTINGS,
                "common/Chart.yaml": "{apiVersion: v2, name: common, version: 1.0.0, type: library}",
            },
        )
        clone.git("tag", "v3")
        clone.git("push", "--quiet", "origin", "v3")
        clone.remote = git.url("charts")
        yield clone


def git_downloads(tmp_path: Path, *trusted: str) -> Downloads:
    access = Access(credentials=Credentials(username="agent", password="git-secret"), remotes=trusted)
    trees = Trees(tmp_path / "trees", access, asyncio.Semaphore(2))
    other = OtherRepositories(home=tmp_path / "others", user=User(), trees=trees)
    return Downloads(open_repository=other.checkout)


async def test_a_chart_of_another_git_repository_is_read_with_the_agents_credentials(
    charts: Clone, application: Any, tmp_path: Path
) -> None:
    options = {"setValues": {"size": "large"}}
    for ref in ("main", "v3", charts.git("rev-parse", "HEAD")):
        chart = {"gitRemote": charts.remote, "ref": ref, "path": "web"}
        source = application({"helmChart": chart, "helmOptions": options})
        source = replace(source, downloads=git_downloads(tmp_path, charts.remote))
        assert await data(source) == {"size": "large", "chart": "3.0.0"}
        # A branch and a tag may point elsewhere tomorrow.
        assert (platform.reads(source) is None) == (len(ref) < 40)
    untrusted = replace(source, downloads=git_downloads(tmp_path, "https://elsewhere.example.com/a.git"))
    with pytest.raises((UserError, Temporary)):
        await load(untrusted)


@pytest.mark.parametrize("path", ["../other", "/etc", "web/../../x"])
async def test_a_path_in_another_repository_cannot_leave_it(
    charts: Clone, application: Any, tmp_path: Path, path: str
) -> None:
    chart = {"gitRemote": charts.remote, "ref": "main", "path": path}
    source = replace(application({"helmChart": chart}), downloads=git_downloads(tmp_path, charts.remote))
    assert "is outside the repository" in await refusal(source)


async def test_a_link_out_of_another_repository_is_refused(
    charts: Clone, application: Any, tmp_path: Path
) -> None:
    (charts.path / "web" / "templates" / "hosts").symlink_to("/etc/hosts")
    charts.remote, remote = "", charts.remote
    charts.commit_and_push("Link", {})
    chart = {"gitRemote": remote, "ref": "main", "path": "web"}
    source = replace(application({"helmChart": chart}), downloads=git_downloads(tmp_path, remote))
    with pytest.raises(Refused, match=r"the link web/templates/hosts points outside the repository"):
        await load(source)


# What a chart and its values may not do

LOCAL = {
    "app/chart/Chart.yaml": "{apiVersion: v2, name: shop, version: 1.0.0}",
    "app/chart/templates/settings.yaml": SETTINGS,
    "app/values.yaml": "size: small\n",
}


async def test_values_cannot_name_a_second_file(application: Any, tmp_path: Path) -> None:
    """Helm reads a comma as the end of a name."""
    secret = tmp_path / "secret.yaml"
    secret.write_text("size: stolen\n")
    name = f"values.yaml,{secret}"
    source = application({"helmChart": {"path": "chart"}, "helmOptions": {"valueFiles": [name]}}, **LOCAL)
    assert "there is no file" in await refusal(source)
    file = source.directory / name.removeprefix("/")
    file.parent.mkdir(parents=True)
    file.write_text("size: large\n")
    assert (await data(source))["size"] == "large"


@pytest.mark.parametrize("files", [{"size": "a,note={secret}"}, {"note={secret},size": "values.yaml"}])
async def test_set_files_cannot_name_a_second_file(
    application: Any, tmp_path: Path, files: dict[str, str]
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("stolen")
    named = {key.format(secret=secret): name.format(secret=secret) for key, name in files.items()}
    source = application({"helmChart": {"path": "chart"}, "helmOptions": {"setFiles": named}}, **LOCAL)
    for name in named.values():
        (source.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (source.directory / name).write_text("x")
    assert "which Helm would read as more values" in await refusal(source)


@pytest.mark.parametrize("path", ["/", "../../../outside"])
async def test_a_dependency_outside_the_repository_is_refused(application: Any, path: str) -> None:
    dependency = f"dependencies: [{{name: a, version: 1.0.0, repository: 'file://{path}'}}]"
    files = {**LOCAL, "app/chart/Chart.yaml": f"apiVersion: v2\nname: shop\nversion: 1.0.0\n{dependency}\n"}
    message = await refusal(application({"helmChart": {"path": "chart"}}, **files))
    assert message.startswith("app/chart/Chart.yaml: the dependency file://") and "is outside" in message


async def test_hooks_are_left_out_and_named(application: Any) -> None:
    hook = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  {}\n  annotations: {{helm.sh/hook: {}}}\n"
    files = {
        **LOCAL,
        "app/chart/templates/migrate.yaml": hook.format("name: migrate", "pre-upgrade"),
        "app/chart/templates/seed.yaml": hook.format("generateName: seed-", "post-install"),
        "app/chart/templates/test.yaml": hook.format("name: try", "test"),
    }
    desired = await load(application({"helmChart": {"path": "chart"}}, **files))
    assert [str(manifest) for manifest in desired.manifests] == ["ConfigMap settings"]
    [note] = desired.notes
    assert note.startswith("Hooks of the chart are not run: ")
    assert "Job migrate (pre-upgrade)" in note and "Job seed- (post-install)" in note and "try" not in note


async def test_the_agents_home_and_variables_are_not_given_to_helm(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    values = "size: {{ env `AWS_SECRET_ACCESS_KEY` }}"
    files = {**LOCAL, "app/chart/templates/broken.yaml": values}
    # Helm has no such function; if it had one, it would find nothing.
    assert "hidden" not in await refusal(application({"helmChart": {"path": "chart"}}, **files))


# Values from URLs


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("10.1.2.3", True),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("::ffff:169.254.169.254", False),
        ("0.0.0.0", False),
    ],
)
def test_addresses_of_the_machine_are_not_downloaded_from(address: str, expected: bool) -> None:
    assert is_allowed(address) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:9085/",
        "http://127.1/",
        "http://2130706433/",
        "http://[::1]/",
    ],
)
async def test_value_files_of_the_machine_are_refused(application: Any, url: str) -> None:
    options = {"valueFiles": ["values.yaml", url]}
    source = application({"helmChart": {"path": "chart"}, "helmOptions": options}, **LOCAL)
    message = await refusal(source)
    assert message.startswith("app.pipecd.yaml: spec.input.helmOptions.valueFiles[1]: ")
    assert "is an address of the agent's machine; put the file into the repository" in message


async def test_a_value_file_is_downloaded(server: ChartServer, tmp_path: Path) -> None:
    server.user = ""
    target, url = tmp_path / "values.yaml", f"{server.url}/index.yaml"
    await download(url, target, [f"https://{server.host}"])
    assert "web-1.0.0.tgz" in target.read_text()
    with pytest.raises(ConfigError, match="is an address of the agent's machine"):
        await download(url, target, ["https://elsewhere.example.com"])
    with pytest.raises(ConfigError, match="HTTP 404; correct the URL"):
        await download(f"{server.url}/none", target, [f"https://{server.host}"])
    with pytest.raises(ConfigError, match="has more than"):
        await download(url, target, [f"https://{server.host}"], max_size=10)


# Capabilities of the cluster

CAPABILITIES = {
    "app/chart/Chart.yaml": "{apiVersion: v2, name: shop, version: 1.0.0, kubeVersion: '>=1.30.0-0'}",
    "app/chart/templates/settings.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n"
        '  leases: {{ .Capabilities.APIVersions.Has "coordination.k8s.io/v1/Lease" | quote }}\n'
        "  version: {{ .Capabilities.KubeVersion.Version | quote }}\n"
    ),
}


async def test_a_chart_knows_the_versions_of_its_cluster(
    application: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider.model_validate({"kubeConfigPath": str(cluster.kubeconfig)})
    source = replace(application({"helmChart": {"path": "chart"}}, **CAPABILITIES), provider=provider)
    version = cluster.get("/version")["gitVersion"]
    assert await data(source) == {"leases": "true", "version": version}
    away = Provider.model_validate({"kubeConfigPath": str(cluster.kubeconfig), "masterURL": "http://[::1]:9"})
    with pytest.raises(Temporary, match="the cluster cannot be asked"):
        await load(replace(source, provider=away))
    # What it said before is used again.
    known = capabilities._last[provider.model_dump_json()]
    monkeypatch.setitem(capabilities._last, away.model_dump_json(), known)
    assert await data(replace(source, provider=away)) == {"leases": "true", "version": version}


async def test_a_chart_that_does_not_depend_on_the_cluster_does_not_need_it(application: Any) -> None:
    away = Provider.model_validate({"masterURL": "http://[::1]:9"})
    source = replace(application({"helmChart": {"path": "chart"}}, **LOCAL), provider=away)
    assert (await data(source))["size"] == "none"


# Versions of the tools


async def test_a_missing_version_is_replaced_by_the_newest_of_the_same_major(
    application: Any, helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("helm-3.8.0", "helm-3.16.4", "helm-4.0.0"):
        (tools / name).symlink_to(helm / "helm")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")

    async def notes(version: str) -> list[str]:
        app_input = {"helmChart": {"path": "chart"}, "helmVersion": version}
        return list((await load(application(app_input, **LOCAL))).notes)

    assert await notes("3.8.2") == ["Helm 3.8.2 was requested and is not installed: 3.16.4 is used"]
    assert await notes("v3.16.4") == []
    [note] = await notes("2.17.0")
    assert note.startswith("Helm 2.17.0 was requested and is not installed: 4.")
    installed = subprocess.run(
        [helm / "helm", "version", "--template", "{{.Version}}"], capture_output=True, text=True, check=True
    ).stdout
    assert await notes(installed) == []
    for path in tools.iterdir():
        path.unlink()
    assert shutil.which("helm-3.16.4") is None
