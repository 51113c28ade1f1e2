"""Secrets and attachments stand in their files in a checkout, and reach nothing else."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.config import piped as config
from pipecd.encryption import seal
from pipecd.errors import ConfigError, Refused
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import GitPath
from pipecd.piped.key_pair import KeyPair, load_key_pair
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.rendering import Rendering
from pipecd.piped.source.repository import Repository
from pipecd.quickstart.git_server import GitServer
from pipecd.secrets import MASK, Redactor
from pipecd.templates import FUNCTIONS
from tests import keys
from tests.repo import Clone
from tests.world import agent_spec, app_file

SECRET = "hunter2-and-more"


def spec_with(folder: Path, management: Mapping[str, Any]) -> config.PipedSpec:
    document = agent_spec("127.0.0.1:1", "id", folder / "key", {}, secretManagement=management)
    return config.load(json.dumps(document), "piped.yaml")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    folder = tmp_path_factory.mktemp("keys")
    found = load_key_pair(spec_with(folder, keys.made(folder)))
    assert found
    return found


class Scene:
    """One application in one repository, looked at by an agent with a key pair."""

    def __init__(self, folder: Path, pair: KeyPair, mirrors: Mirrors) -> None:
        (folder / "git").mkdir()
        self.clone = Clone(folder / "clone", str(GitServer(folder / "git").create("shop")))
        self.pair, self.redactor, self._mirrors = pair, Redactor(), mirrors
        self.opener = pair.opener

    def sealed(self, text: str) -> str:
        return seal(self.pair.public, text.encode())

    async def rendered(self, files: Mapping[str, str], *read: str, **spec: Any) -> list[str]:
        """What `read` holds in a checkout of an application with `files`."""
        self.clone.write({"shop/app.pipecd.yaml": app_file(**spec), **files})
        return await self.checked_out(*read)

    async def checked_out(self, *read: str, with_key: bool = True) -> list[str]:
        commit = self.clone.commit_and_push("Change")
        rendering = Rendering(self.opener if with_key else None, self.redactor.add)
        repository = Repository(id="shop", remote=self.clone.remote, branch="main")
        sources = Sources(self._mirrors, {"shop": repository}, rendering)
        at = GitPath(repo_id="shop", path="shop", config_filename="app.pipecd.yaml")
        async with sources.checkout(at, commit) as source:
            return [(source.directory / name).read_text() for name in read]


@pytest.fixture
async def scene(tmp_path: Path, pair: KeyPair) -> AsyncIterator[Scene]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        yield Scene(tmp_path, pair, mirrors)


async def test_a_secret_is_opened_into_the_files_that_ask_for_it(scene: Scene) -> None:
    template = "password: {{ .encryptedSecrets.password | quote }}\n"
    found = await scene.rendered(
        {"shop/secret.yaml": template, "shop/deep/other.yaml": template, "shop/untouched.yaml": template},
        "secret.yaml",
        "deep/other.yaml",
        "untouched.yaml",
        encryption={
            "encryptedSecrets": {"password": scene.sealed(SECRET)},
            "decryptionTargets": ["secret.yaml", "deep/other.yaml"],
        },
    )
    opened = f'password: "{SECRET}"\n'
    assert found == [opened, opened, template]


async def test_attachments_come_after_secrets_and_see_them(scene: Scene) -> None:
    (found,) = await scene.rendered(
        {
            "shop/config.ini": "key={{ .encryptedSecrets.key }}\nend",
            "shop/task.yaml": "config: |{{ .attachment.config | nindent 2 }}\n"
            "key: {{ .encryptedSecrets.key }}",
        },
        "task.yaml",
        encryption={
            "encryptedSecrets": {"key": scene.sealed(SECRET)},
            "decryptionTargets": ["config.ini"],
        },
        attachment={"sources": {"config": "config.ini"}, "targets": ["task.yaml"]},
    )
    assert found == f"config: |\n  key={SECRET}\n  end\nkey: {SECRET}"


async def test_whatever_a_secret_becomes_is_masked(scene: Scene) -> None:
    encoded = base64.b64encode(b"encoded before it was sealed").decode()
    template = (
        "{{ .encryptedSecrets.key }} {{ .encryptedSecrets.key | upper }} "
        "{{ .encryptedSecrets.key | b64enc }} "
        '{{ .encryptedSecrets.key | urlquery }} {{ .encryptedSecrets.encoded | b64dec | replace " " "_" }} '
        "{{ .encryptedSecrets.encoded }} {{ .encryptedSecrets.encoded | b64dec }}"
    )
    found = await scene.rendered(
        {"shop/x": template, "shop/y": "{{ .encryptedSecrets.key | lower | trimPrefix `hunter2` }}"},
        "x",
        "y",
        encryption={
            "encryptedSecrets": {"key": scene.sealed(SECRET), "encoded": scene.sealed(encoded)},
            "decryptionTargets": ["x"],
        },
        attachment={"targets": ["y"]},
    )
    assert SECRET in found[0] and "encoded_before_it_was_sealed" in found[0]
    assert set(scene.redactor.text(found[0]).split()) == {MASK}
    assert found[1] == "-and-more" and scene.redactor.text(found[1]) == MASK


async def test_without_a_key_pair_secrets_are_refused_with_the_place(scene: Scene) -> None:
    scene.clone.write(
        {
            "shop/x": "",
            "shop/app.pipecd.yaml": app_file(
                encryption={"encryptedSecrets": {"key": scene.sealed(SECRET)}, "decryptionTargets": ["x"]}
            ),
        }
    )
    with pytest.raises(Refused) as caught:
        await scene.checked_out("x", with_key=False)
    assert str(caught.value).startswith("shop/app.pipecd.yaml:7: spec.encryption.encryptedSecrets.key: ")
    assert "spec.secretManagement" in str(caught.value)


async def test_a_secret_for_another_agent_is_refused_and_named(scene: Scene, tmp_path: Path) -> None:
    other = load_key_pair(spec_with(tmp_path, keys.made(tmp_path)))
    assert other
    with pytest.raises(ConfigError, match=r"encryptedSecrets\.key: .* another key pair.*seal it again"):
        await scene.rendered(
            {"shop/x": ""},
            encryption={
                "encryptedSecrets": {"key": seal(other.public, SECRET.encode())},
                "decryptionTargets": ["x"],
            },
        )


async def test_a_name_that_is_not_there_is_an_error_with_its_line(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"^shop/x:2: there is no \.encryptedSecrets\.nope; there is"):
        await scene.rendered(
            {"shop/x": "a\n{{ .encryptedSecrets.nope }}"},
            encryption={"encryptedSecrets": {"key": scene.sealed(SECRET)}, "decryptionTargets": ["x"]},
        )


@pytest.mark.parametrize("key", ["targets", "sources"])
async def test_a_link_out_of_the_application_is_not_followed(scene: Scene, key: str) -> None:
    """It stays in the repository, so other files may use it; these may not."""
    (scene.clone.path / "shop").mkdir()
    (scene.clone.path / "shop" / "link").symlink_to("../other/file")
    attachment = {"targets": ["link"]} if key == "targets" else {"sources": {"a": "link"}, "targets": ["x"]}
    with pytest.raises(Refused, match=r"app\.pipecd\.yaml:\d+: spec\.attachment.* leads out of the app"):
        await scene.rendered({"other/file": "theirs", "shop/x": ""}, attachment=attachment)


@pytest.mark.parametrize("path", ["../other/file", "/etc/passwd", "a/../../other/file"])
@pytest.mark.parametrize("block", ["encryption", "attachment"])
async def test_a_path_out_of_the_application_is_refused(scene: Scene, path: str, block: str) -> None:
    given = {"decryptionTargets": [path]} if block == "encryption" else {"targets": [path]}
    with pytest.raises(ConfigError, match=r"leaves the application's directory|is absolute"):
        await scene.rendered({"other/file": "theirs"}, **{block: given})


@pytest.mark.parametrize("name", ["nothing", "folder", "loop"])
async def test_what_is_no_file_is_named(scene: Scene, name: str) -> None:
    (scene.clone.path / "shop").mkdir()
    (scene.clone.path / "shop" / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=rf"spec\.attachment\.targets\[0\]: there is no file {name}"):
        await scene.rendered({"shop/folder/x": ""}, attachment={"targets": [name]})


async def test_bytes_that_are_no_text_survive(scene: Scene) -> None:
    scene.clone.write({"shop/app.pipecd.yaml": app_file(attachment={"targets": ["x"]})})
    (scene.clone.path / "shop" / "x").write_bytes(b"\xff{{ `b2s=` | b64dec }}\r\n")
    commit = scene.clone.commit_and_push("Bytes")
    repository = Repository(id="shop", remote=scene.clone.remote, branch="main")
    sources = Sources(scene._mirrors, {"shop": repository}, Rendering(None, scene.redactor.add))
    at = GitPath(repo_id="shop", path="shop", config_filename="app.pipecd.yaml")
    async with sources.checkout(at, commit) as source:
        assert (source.directory / "x").read_bytes() == b"\xffok\r\n"


def test_no_secret_management_is_no_key_pair(tmp_path: Path) -> None:
    document = agent_spec("127.0.0.1:1", "id", tmp_path / "key", {})
    assert load_key_pair(config.load(json.dumps(document), "piped.yaml")) is None


def test_keys_may_stand_in_the_file_itself(tmp_path: Path) -> None:
    given = keys.made(tmp_path)["config"]
    data = {
        f"{name}Data": base64.b64encode(Path(given[f"{name}File"]).read_bytes()).decode()
        for name in ("privateKey", "publicKey")
    }
    found = load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": data}))
    assert found and found.opener.open(seal(found.public, b"x")) == b"x"
    assert "PRIVATE" not in repr(found)


def test_keys_that_do_not_fit_are_found_at_the_start(tmp_path: Path) -> None:
    one, other = keys.made(tmp_path, "one"), keys.made(tmp_path, "other")
    mixed = {**one["config"], "publicKeyFile": other["config"]["publicKeyFile"]}
    with pytest.raises(ConfigError, match=r"do not fit.*openssl rsa"):
        load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": mixed}))


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    given = {**keys.made(tmp_path)["config"], "privateKeyFile": str(tmp_path / "nothing")}
    with pytest.raises(ConfigError, match=r"nothing: spec\.secretManagement\.config\.privateKeyFile"):
        load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": given}))


async def test_the_guides_example_is_rendered(scene: Scene) -> None:
    text = (Path(__file__).parents[2] / "docs/guide/secrets.md").read_text()
    app, task = re.findall(r"^`[\w.]+`:\n\n```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    sealed = scene.sealed(SECRET)
    scene.clone.write({"shop/app.pipecd.yaml": app.replace("AQBk…", sealed), "shop/taskdef.yaml": task})
    (found,) = await scene.checked_out("taskdef.yaml")
    (container,) = yaml.safe_load(found)["containerDefinitions"]
    assert container["environment"] == [{"name": "PASSWORD", "value": SECRET}]


def test_the_guide_names_every_function() -> None:
    text = (Path(__file__).parents[2] / "docs/guide/secrets.md").read_text()
    (listed,) = re.findall(r"^Functions: (.*?)\.", text, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(FUNCTIONS)
