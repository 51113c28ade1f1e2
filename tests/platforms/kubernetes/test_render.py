"""Rendering: plain files, Kustomize and Helm, and the desired state that results."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError
from pipecd.model.deployment import SyncStrategy
from pipecd.platforms.images import image_name, image_tag
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.config_hash import config_hash
from pipecd.platforms.kubernetes.manifest import MAX_BYTES, Manifest
from pipecd.platforms.kubernetes.metrics import TOOL_CALLS
from pipecd.platforms.kubernetes.render.files import run
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.strategy import choose_strategy
from tests.platforms.aws.stage_runner import load_source
from tests.platforms.kubernetes.helm import helm_directory
from tests.platforms.kubernetes.stage_runner import config_map, deployment

needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="needs kustomize or kubectl"
)
SETTINGS = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}\n"


@pytest.fixture
def files(tmp_path: Path) -> Any:
    def write(spec: dict[str, Any] | None = None, **contents: str) -> Path:
        config = {
            "apiVersion": "pipecd.dev/v1beta1",
            "kind": "KubernetesApp",
            "spec": {"name": "shop", **(spec or {})},
        }
        for name, text in {"app.pipecd.yaml": yaml.safe_dump(config), **contents}.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return write


async def rendered(directory: Path) -> list[str]:
    desired = await platform.load_desired_state(load_source(platform, directory))
    return [str(manifest) for manifest in desired.manifests]


async def refusal(directory: Path) -> str:
    with pytest.raises(ConfigError) as error:
        await rendered(directory)
    return str(error.value)


async def test_plain_files_are_those_directly_in_the_directory(files: Any) -> None:
    directory = files(
        **{
            "b.yaml": SETTINGS % "b",
            "a.yml": SETTINGS % "a1" + "---\n" + SETTINGS % "a2",
            "c.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}',
            "other.pipecd.yaml": "kind: KubernetesApp\n",
            ".pipe.yaml": "kind: KubernetesApp\n",
            "notes.txt": "a: b",
            "sub/d.yaml": SETTINGS % "d",
        }
    )
    assert await rendered(directory) == ["ConfigMap a1", "ConfigMap a2", "ConfigMap b", "ConfigMap c"]


async def test_files_can_be_named_and_are_read_in_that_order(files: Any) -> None:
    spec = {"input": {"manifests": ["sub/d.yaml", "a.yaml"]}}
    directory = files(
        spec, **{"a.yaml": SETTINGS % "a", "b.yaml": SETTINGS % "b", "sub/d.yaml": SETTINGS % "d"}
    )
    assert await rendered(directory) == ["ConfigMap d", "ConfigMap a"]


async def test_a_file_outside_the_repository_is_refused(files: Any, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.yaml"
    secret.write_text(SETTINGS % "secret")
    directory = files()
    (directory / "link.yaml").symlink_to(secret)
    assert "'link.yaml' is outside the repository" in await refusal(directory)


async def test_a_missing_file_is_named(files: Any) -> None:
    message = await refusal(files({"input": {"manifests": ["none.yaml"]}}))
    assert message == "none.yaml: file not found; create it, or correct spec.input.manifests"


@needs_kustomize
async def test_a_file_that_is_too_large_is_not_read_to_its_end(files: Any) -> None:
    directory = files()
    with (directory / "web.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "web.yaml: the file has more than 32 MiB" in await refusal(directory)


async def test_a_file_in_another_encoding_says_so(files: Any) -> None:
    directory = files()
    (directory / "web.yaml").write_bytes("name: Müller".encode("latin-1"))
    assert "web.yaml: not UTF-8 text; save it as UTF-8" in await refusal(directory)


async def test_a_program_that_prints_too_much_is_stopped(files: Any) -> None:
    source = load_source(platform, files())
    with pytest.raises(ConfigError, match=r"app\.pipecd\.yaml: yes printed more than 32 MiB"):
        await run(["yes"], source, os.environ, "Kustomize")


async def test_an_overlay_is_built(files: Any) -> None:
    directory = files(
        {"input": {"kustomizeOptions": {"load-restrictor": "LoadRestrictionsNone", "enable-helm": ""}}},
        **{
            "kustomization.yaml": "resources: [base]\nnamePrefix: test-\n",
            "base/kustomization.yaml": "resources: [a.yaml]\n",
            "base/a.yaml": SETTINGS % "a",
        },
    )
    counted = TOOL_CALLS.collect()
    assert await rendered(directory) == ["ConfigMap test-a"]
    (sample,) = [
        sample
        for sample in next(iter(TOOL_CALLS.collect())).samples
        if sample.name.endswith("_total") and sample not in next(iter(counted)).samples
    ]
    assert (sample.labels["command"], sample.labels["status"]) == ("build", "success")


@needs_kustomize
async def test_an_overlay_that_cannot_be_built_says_why(files: Any) -> None:
    message = await refusal(files(**{"kustomization.yaml": "resources: [missing.yaml]\n"}))
    assert message.startswith("app.pipecd.yaml: kustomize build failed: ")
    assert "missing.yaml" in message


@pytest.mark.parametrize("flag", ["enable-exec", "helm-command", "enable-alpha-plugins", "output"])
def test_flags_that_run_programs_are_refused(files: Any, flag: str) -> None:
    directory = files({"input": {"kustomizeOptions": {flag: "x"}}})
    with pytest.raises(ConfigError, match=f"{flag} is not allowed, because it runs programs or writes files"):
        load_source(platform, directory)


CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
    "chart/values.yaml": "size: small\ncolor: red\nnote: none\n",
    "chart/templates/settings.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
        "  namespace: {{ .Release.Namespace }}\ndata:\n  size: {{ .Values.size }}\n"
        "  color: {{ .Values.color }}\n  note: {{ .Values.note | quote }}\n"
        '  gateway: {{ .Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1" | quote }}\n'
        "  version: {{ .Capabilities.KubeVersion.Version | quote }}\n"
    ),
    "chart/templates/hook.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hook\n"
        "  annotations: {helm.sh/hook: pre-install}\n"
    ),
    "chart/crds/crd.yaml": (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n"
    ),
    "large.yaml": "size: large\n",
    "note.txt": "from a file",
}


#: The templates above depend on the cluster.
RENDERED = {
    "input": {
        "helmChart": {"path": "chart"},
        "helmOptions": {"kubeVersion": "1.33.0", "apiVersions": ["apps/v1"]},
    }
}


@pytest.fixture
def helm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm is on PATH."""
    monkeypatch.setenv("PATH", str(helm_directory(tmp_path_factory)), prepend=os.pathsep)


@pytest.mark.usefixtures("helm")
async def test_a_chart_that_cannot_be_rendered_says_why(files: Any) -> None:
    broken = {**CHART, "chart/templates/broken.yaml": '{{ required "set .Values.host" .Values.host }}'}
    message = await refusal(files(RENDERED, **broken))
    assert message.startswith("app.pipecd.yaml: helm template failed: ")
    assert "set .Values.host" in message


@pytest.mark.usefixtures("helm")
async def test_an_error_in_a_rendered_document_names_its_template(files: Any) -> None:
    broken = {**CHART, "chart/templates/broken.yaml": "kind: ConfigMap\n"}
    message = await refusal(files(RENDERED, **broken))
    assert "from shop/templates/broken.yaml: apiVersion is missing; add it" in message


@pytest.mark.usefixtures("helm")
async def test_a_chart_is_rendered_with_its_values(files: Any) -> None:
    options = {
        "releaseName": "web",
        "valueFiles": ["large.yaml"],
        "setValues": {"color": "blue"},
        "setFiles": {"note": "note.txt"},
        "apiVersions": ["gateway.networking.k8s.io/v1"],
        "kubeVersion": "1.33.0",
    }
    spec = {"input": {"helmChart": {"path": "chart"}, "helmOptions": options, "namespace": "eu"}}
    desired = await platform.load_desired_state(load_source(platform, files(spec, **CHART)))
    definition, settings = desired.manifests
    assert (str(definition), str(settings)) == ("CustomResourceDefinition a", "ConfigMap web in eu")
    assert settings.body["data"] == {
        "size": "large",
        "color": "blue",
        "note": "from a file",
        "gateway": "true",
        "version": "v1.33.0",
    }


@pytest.mark.parametrize(
    ("chart", "options", "message"),
    [
        ({"path": "chart"}, {"releaseName": "--post-renderer=x"}, "is not a name of a Helm release"),
        ({"path": "chart"}, {"valueFiles": ["../../etc/passwd"]}, "is outside the repository"),
        ({"path": "nowhere"}, {}, "nowhere contains no Chart.yaml; correct helmChart.path"),
    ],
)
async def test_a_wrong_chart_is_refused(
    files: Any, chart: Any, options: Any, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "helm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    spec = {"input": {"helmChart": chart, "helmOptions": options}}
    assert message in await refusal(files(spec, **CHART))


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        ({}, "one of path, gitRemote and repository must be given"),
        ({"repository": "a"}, "name of the chart is missing"),
        ({"gitRemote": "https://example.com/a.git", "path": "a"}, "ref of gitRemote is missing"),
        ({"repository": "a", "name": "b", "path": "c"}, "repository cannot be combined"),
    ],
)
def test_a_chart_has_exactly_one_source(files: Any, chart: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_source(platform, files({"input": {"helmChart": chart}}))


# Versions and the strategy


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("web", "web", "latest"),
        ("shop/web:v1", "web", "v1"),
        ("registry:5000/shop/web", "web", "latest"),
        ("registry:5000/shop/web:v1", "web", "v1"),
        ("web@sha256:abc", "web", "sha256:abc"),
        ("web:v1@sha256:abc", "web", "sha256:abc"),
    ],
)
def test_an_image_has_a_name_and_a_tag(image: str, name: str, tag: str) -> None:
    assert (image_name(image), image_tag(image)) == (name, tag)


def state(*bodies: dict[str, Any]) -> DesiredState:
    return DesiredState(manifests=[Manifest(body) for body in bodies], namespace="")


SCALED = deployment("web", replicas=3)
CASES = {
    "first": (None, state(deployment("web")), "Quick sync, because this is the first deployment"),
    "no workloads": (
        state(),
        state(deployment("web")),
        "Quick sync, because the running manifests contain no workloads to compare with",
    ),
    "image": (
        state(deployment("web", "web:1")),
        state(deployment("web", "web:2")),
        "Sync with the pipeline, because the image of web changed: web from 1 to 2",
    ),
    "template": (
        state(deployment("web")),
        state(deployment("web", restartPolicy="Always")),
        "Sync with the pipeline, because the pod template of web changed",
    ),
    "config": (
        state(deployment("web"), config_map("a", {"x": "1"})),
        state(deployment("web"), config_map("a", {"x": "2"})),
        "Sync with the pipeline, because the ConfigMap a changed",
    ),
    "added config": (
        state(deployment("web")),
        state(deployment("web"), config_map("a")),
        "Sync with the pipeline, because the ConfigMap a was added",
    ),
    "removed config": (
        state(deployment("web"), config_map("a")),
        state(deployment("web")),
        "Sync with the pipeline, because the ConfigMap a was removed",
    ),
    "image of another name": (
        state(deployment("web", "registry:5000/shop/web:1")),
        state(deployment("web", "registry:5000/shop/store@sha256:abc")),
        "Sync with the pipeline, because the image of web changed: web:1 to store:sha256:abc",
    ),
    "same quantity": (
        state(deployment("web", overhead={"cpu": "0.1", "memory": "1024Mi"})),
        state(deployment("web", overhead={"cpu": "100m", "memory": "1Gi"})),
        "Quick sync, because no pod template and no configuration changed",
    ),
    "same number in another scale": (
        state(deployment("web", overhead={"memory": "1Ki"})),
        state(deployment("web", overhead={"memory": "1024"})),
        "Sync with the pipeline, because the pod template of web changed",
    ),
    "zero values": (
        state(deployment("web", hostNetwork=False, tolerations=[], nodeSelector=None)),
        state(deployment("web")),
        "Quick sync, because no pod template and no configuration changed",
    ),
    "presence counts": (
        state(deployment("web", securityContext={})),
        state(deployment("web")),
        "Sync with the pipeline, because the pod template of web changed",
    ),
    "empty config": (
        state(deployment("web"), config_map("a", {})),
        state(deployment("web"), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        "Quick sync, because no pod template and no configuration changed",
    ),
    "no new workloads": (
        state(deployment("web")),
        state(config_map("a")),
        "Quick sync, because the new manifests contain no workloads",
    ),
    "two scaled": (
        state(deployment("b"), deployment("a")),
        state(deployment("b", replicas=2), deployment("a", replicas=3)),
        "Quick sync, because a is scaled from 1 to 3, b is scaled from 1 to 2",
    ),
    "scaled": (state(deployment("web")), state(SCALED), "Quick sync, because web is scaled from 1 to 3"),
    "else": (
        state(deployment("web")),
        state(deployment("web"), deployment("other")),
        "Quick sync, because no pod template and no configuration changed",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_pods_that_change_use_the_pipeline(case: str) -> None:
    running, target, reason = CASES[case]
    strategy = choose_strategy(running, target)
    assert strategy.reason == reason
    assert (strategy.strategy is SyncStrategy.PIPELINE) == reason.startswith("Sync with the pipeline")


# The hash of configuration. The expected values are PipeCD's.


def config(kind: str, **fields: Any) -> Manifest:
    return Manifest({"apiVersion": "v1", "kind": kind, "metadata": {}, **fields})


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([config("ConfigMap", data={})], "42745tchd9"),
        ([config("ConfigMap", data={"one": ""})], "9g67k2htb6"),
        ([config("ConfigMap", data={"two": "2", "one": "", "three": "3"})], "f5h7t85m9b"),
        ([config("Secret", type="my-type", data={})], "t75bgf6ctb"),
        ([config("Secret", type="my-type", data={"two": "Mg==", "one": "", "three": "Mw=="})], "dgcb6h9tmk"),
        (
            [
                config("ConfigMap", data={"two": "2", "three": "3"}),
                config("Secret", type="my-type", data={"one": "", "three": "Mw=="}),
            ],
            "57hhd7795k",
        ),
    ],
)
def test_the_config_hash_is_that_of_pipecd(configs: list[Manifest], expected: str) -> None:
    assert config_hash(configs) == expected
