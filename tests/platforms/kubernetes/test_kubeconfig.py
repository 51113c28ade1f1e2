"""How the address and the credentials of a cluster are found."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access, load_access
from pipecd.platforms.kubernetes.cluster.proxy import find_proxy

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {},
    "current-context": "one",
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one:6443/", "certificate-authority": "ca.crt"}},
        {"name": "two", "cluster": {"server": "https://two", "insecure-skip-tls-verify": True}},
    ],
    "contexts": [
        {"name": "one", "context": {"cluster": "one", "user": "robot", "namespace": "shop"}},
        {"name": "two", "context": {"cluster": "two", "user": ""}},
        {"name": "broken", "context": {"cluster": "three", "user": "robot"}},
    ],
    "users": [
        {
            "name": "robot",
            "user": {
                "tokenFile": "secret/token",
                "as": "admin",
                "as-groups": ["a", "b"],
                "as-user-extra": {"reason": ["drill"]},
            },
        }
    ],
}


def write(file: Path, **changes: Any) -> str:
    file.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return str(file)


def refusal(**arguments: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load_access(**{"environ": {}, **arguments})
    return str(error.value)


def test_the_current_context_is_used_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "config")
    access = load_access(path=path, environ={})
    assert access == Access(
        server="https://one:6443",
        origin=f"{path}, context one",
        namespace="shop",
        ca_file=str(tmp_path / "ca.crt"),
        token_file=str(tmp_path / "secret/token"),
        directory=str(tmp_path),
        impersonation=(
            ("Impersonate-User", "admin"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-reason", "drill"),
        ),
        files=(path,),
    )


def test_another_context_can_be_chosen(tmp_path: Path) -> None:
    access = load_access(path=write(tmp_path / "config"), context="two", environ={})
    assert (access.server, access.insecure, access.token_file) == ("https://two", True, "")


def test_master_url_replaces_the_address(tmp_path: Path) -> None:
    access = load_access(path=write(tmp_path / "config"), master_url="https://other:1", environ={})
    assert (access.server, access.token_file) == ("https://other:1", str(tmp_path / "secret/token"))


def test_several_files_are_merged_and_the_first_one_decides(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"kind": "Config", "users": [{"name": "robot", "user": {"token": "t"}}]}))
    listed = f"{first}:{write(tmp_path / 'second')}"
    access = load_access(environ={"KUBECONFIG": listed})
    assert (access.server, access.token, access.token_file) == ("https://one:6443", "t", "")


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("pipecd\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "KUBECONFIG": "/none"}
    access = load_access(environ=environ, service_account=tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "pipecd")
    assert (access.token_file, access.ca_file) == (str(tmp_path / "token"), str(tmp_path / "ca.crt"))


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"context": "three"}, "the kubeconfig has no context 'three'; it has: one, two, broken"),
        ({}, {"context": "broken"}, "the kubeconfig has no cluster 'three'; it has: one, two"),
        ({"users": None}, {}, "the kubeconfig has no user 'robot'; it has: none"),
        ({"current-context": ""}, {}, "{path} has no current-context; set context of the platform provider"),
        (
            {"clusters": [{"name": "one", "cluster": {"server": "ftp://one"}}]},
            {},
            "{path}: server of the cluster one is not a URL: 'ftp://one'; write it like https://10.0.0.1:6443",
        ),
        (
            {"users": [{"name": "robot", "user": {"auth-provider": {"name": "gcp"}}}]},
            {},
            "{path}: the user robot uses auth-provider, which Kubernetes no longer supports; use an exec"
            " plugin, such as gke-gcloud-auth-plugin or kubelogin",
        ),
        ({"clusters": "one"}, {}, "{path}:2: clusters: is not a list"),
    ],
)
def test_a_wrong_kubeconfig_is_refused(tmp_path: Path, changes: Any, arguments: Any, message: str) -> None:
    path = write(tmp_path / "config", **changes)
    assert refusal(path=path, **arguments).startswith(message.format(path=path))


def test_without_any_cluster_the_remedy_is_named(tmp_path: Path) -> None:
    assert refusal() == (
        "the agent does not run in a Kubernetes cluster, and no kubeconfig is given;"
        " set kubeConfigPath of the platform provider"
    )
    missing = tmp_path / "missing"
    assert refusal(path=str(missing)) == (
        f"{missing}: the kubeconfig cannot be read: No such file or directory;"
        " correct kubeConfigPath of the platform provider"
    )
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert "has no service account token" in refusal(environ=environ, service_account=tmp_path)


def test_credentials_are_not_in_its_representation() -> None:
    access = Access(
        server="https://one",
        origin="test",
        token="hidden-1",
        password="hidden-2",
        client_key_data="hidden-3",
        client_certificate_data="hidden-4",
    )
    assert "hidden" not in repr(access)


PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("server", "environ", "expected"),
    [
        ("https://one:6443", {}, None),
        ("https://one:6443", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://one:6443", {"https_proxy": PROXY, "NO_PROXY": "two,three"}, PROXY),
        ("https://one:6443", {"HTTP_PROXY": PROXY}, None),
        ("https://one:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ("https://api.one.example:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "one.example"}, None),
        ("https://api.one.example:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".one.example"}, None),
        ("https://api.one.example:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*.one.example"}, None),
        ("https://alone.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "one.example"}, PROXY),
        ("https://10.0.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://11.0.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, PROXY),
        ("https://[fd00::1]:443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, None),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, None),
    ],
)
def test_the_proxy_of_the_environment_is_used_as_by_kubectl(
    server: str, environ: dict[str, str], expected: str | None
) -> None:
    assert find_proxy(Access(server=server, origin="test"), environ) == expected


def test_the_proxy_of_the_kubeconfig_takes_precedence() -> None:
    access = Access(server="https://one", origin="config", proxy_url="http://other:1")
    assert find_proxy(access, {"NO_PROXY": "*", "HTTPS_PROXY": PROXY}) == "http://other:1"
    with pytest.raises(ConfigError, match="config: socks5 proxies are not supported"):
        find_proxy(Access(server="https://one", origin="config", proxy_url="socks5://p:1"), {})
