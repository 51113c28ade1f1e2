"""Secrets and attachments are rendered into their target files in a checkout, and nowhere else."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.config import piped as config
from pipecd.encryption import encrypt
from pipecd.errors import ConfigError, Refused
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import GitPath
from pipecd.piped.key_pair import KeyPair, load_key_pair
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.secrets import MASK, Redactor
from pipecd.templates import FUNCTIONS
from tests import keys
from tests.repo import local_clone
from tests.world import agent_spec, app_file

SECRET = "hunter2-and-more"


def spec_with(folder: Path, management: Mapping[str, Any]) -> config.PipedSpec:
    document = agent_spec("127.0.0.1:1", "id", folder / "key", {}, secretManagement=management)
    return config.load(json.dumps(document), "piped.yaml")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    folder = tmp_path_factory.mktemp("keys")
    pair = load_key_pair(spec_with(folder, keys.write_key_pair(folder)))
    assert pair
    return pair


class AppRepository:
    """A repository with one application, and an agent with a key pair."""

    def __init__(self, folder: Path, pair: KeyPair, mirrors: Mirrors) -> None:
        self.clone = local_clone(folder)
        self.pair, self.redactor, self._mirrors = pair, Redactor(), mirrors
        self.decryptor = pair.decryptor

    def encrypt(self, text: str) -> str:
        return encrypt(self.pair.public, text.encode())

    async def render(self, files: Mapping[str, str], *read: str, **spec: Any) -> list[str]:
        """Push `files`, check the application out, and return the contents of the files `read`."""
        self.clone.write({"shop/app.pipecd.yaml": app_file(**spec), **files})
        return await self.checkout(*read)

    async def checkout(self, *read: str, with_key: bool = True) -> list[str]:
        commit = self.clone.commit_and_push("Change")
        renderer = Renderer(self.decryptor if with_key else None, self.redactor.add)
        repository = Repository(id="shop", remote=self.clone.remote, branch="main")
        sources = Sources(self._mirrors, {"shop": repository}, renderer)
        at = GitPath(repo_id="shop", path="shop", config_filename="app.pipecd.yaml")
        async with sources.checkout(at, commit) as source:
            return [(source.directory / name).read_text() for name in read]


@pytest.fixture
async def repo(tmp_path: Path, pair: KeyPair) -> AsyncIterator[AppRepository]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        yield AppRepository(tmp_path, pair, mirrors)


async def test_a_secret_is_decrypted_into_its_target_files(repo: AppRepository) -> None:
    template = "password: {{ .encryptedSecrets.password | quote }}\n"
    contents = await repo.render(
        {"shop/secret.yaml": template, "shop/deep/other.yaml": template, "shop/untouched.yaml": template},
        "secret.yaml",
        "deep/other.yaml",
        "untouched.yaml",
        encryption={
            "encryptedSecrets": {"password": repo.encrypt(SECRET)},
            "decryptionTargets": ["secret.yaml", "deep/other.yaml"],
        },
    )
    decrypted = f'password: "{SECRET}"\n'
    assert contents == [decrypted, decrypted, template]


async def test_attachments_are_rendered_after_secrets_and_contain_them(repo: AppRepository) -> None:
    (content,) = await repo.render(
        {
            "shop/config.ini": "key={{ .encryptedSecrets.key }}\nend",
            "shop/task.yaml": "config: |{{ .attachment.config | nindent 2 }}\n"
            "key: {{ .encryptedSecrets.key }}",
        },
        "task.yaml",
        encryption={
            "encryptedSecrets": {"key": repo.encrypt(SECRET)},
            "decryptionTargets": ["config.ini"],
        },
        attachment={"sources": {"config": "config.ini"}, "targets": ["task.yaml"]},
    )
    assert content == f"config: |\n  key={SECRET}\n  end\nkey: {SECRET}"


async def test_a_file_may_contain_a_secret_and_an_attachment_and_be_named_for_both(
    repo: AppRepository,
) -> None:
    (content,) = await repo.render(
        {"shop/note": "hello", "shop/x": "{{ .attachment.note }} {{ .encryptedSecrets.key }}"},
        "x",
        encryption={"encryptedSecrets": {"key": repo.encrypt(SECRET)}, "decryptionTargets": ["x"]},
        attachment={"sources": {"note": "note"}, "targets": ["x"]},
    )
    assert content == f"hello {SECRET}"


async def test_every_form_of_a_secret_is_masked(repo: AppRepository) -> None:
    encoded = base64.b64encode(b"encoded before encryption").decode()
    template = (
        "{{ .encryptedSecrets.key }} {{ .encryptedSecrets.key | upper }} "
        "{{ .encryptedSecrets.key | b64enc }} "
        '{{ .encryptedSecrets.key | urlquery }} {{ .encryptedSecrets.encoded | b64dec | replace " " "_" }} '
        "{{ .encryptedSecrets.encoded }} {{ .encryptedSecrets.encoded | b64dec }}"
    )
    contents = await repo.render(
        {"shop/x": template, "shop/y": "{{ .encryptedSecrets.key | lower | trimPrefix `hunter2` }}"},
        "x",
        "y",
        encryption={
            "encryptedSecrets": {"key": repo.encrypt(SECRET), "encoded": repo.encrypt(encoded)},
            "decryptionTargets": ["x"],
        },
        attachment={"targets": ["y"]},
    )
    assert SECRET in contents[0] and "encoded_before_encryption" in contents[0]
    assert set(repo.redactor.text(contents[0]).split()) == {MASK}
    assert contents[1] == "-and-more" and repo.redactor.text(contents[1]) == MASK


async def test_without_a_key_pair_secrets_are_rejected_with_their_position(repo: AppRepository) -> None:
    repo.clone.write(
        {
            "shop/x": "",
            "shop/app.pipecd.yaml": app_file(
                encryption={"encryptedSecrets": {"key": repo.encrypt(SECRET)}, "decryptionTargets": ["x"]}
            ),
        }
    )
    with pytest.raises(Refused) as caught:
        await repo.checkout("x", with_key=False)
    assert str(caught.value).startswith("shop/app.pipecd.yaml:7: spec.encryption.encryptedSecrets.key: ")
    assert "spec.secretManagement" in str(caught.value)


async def test_a_secret_for_another_agent_is_rejected_by_name(repo: AppRepository, tmp_path: Path) -> None:
    other = load_key_pair(spec_with(tmp_path, keys.write_key_pair(tmp_path)))
    assert other
    with pytest.raises(ConfigError, match=r"encryptedSecrets\.key: .* another key pair.*encrypt it again"):
        await repo.render(
            {"shop/x": ""},
            encryption={
                "encryptedSecrets": {"key": encrypt(other.public, SECRET.encode())},
                "decryptionTargets": ["x"],
            },
        )


async def test_an_unknown_name_is_an_error_with_its_line(repo: AppRepository) -> None:
    with pytest.raises(ConfigError, match=r"^shop/x:2: \.encryptedSecrets\.nope does not exist; available"):
        await repo.render(
            {"shop/x": "a\n{{ .encryptedSecrets.nope }}"},
            encryption={"encryptedSecrets": {"key": repo.encrypt(SECRET)}, "decryptionTargets": ["x"]},
        )


@pytest.mark.parametrize("key", ["targets", "sources"])
async def test_a_link_to_outside_the_application_is_not_followed(repo: AppRepository, key: str) -> None:
    """The link stays inside the repository, which is allowed for other files but not for these."""
    (repo.clone.path / "shop").mkdir()
    (repo.clone.path / "shop" / "link").symlink_to("../other/file")
    attachment = {"targets": ["link"]} if key == "targets" else {"sources": {"a": "link"}, "targets": ["x"]}
    with pytest.raises(Refused, match=r"app\.pipecd\.yaml:\d+: spec\.attachment.* points outside the app"):
        await repo.render({"other/file": "theirs", "shop/x": ""}, attachment=attachment)


@pytest.mark.parametrize("path", ["../other/file", "/../other/file", "a/../../other/file"])
@pytest.mark.parametrize("block", ["encryption", "attachment"])
async def test_a_path_outside_the_application_is_rejected(repo: AppRepository, path: str, block: str) -> None:
    config_block = {"decryptionTargets": [path]} if block == "encryption" else {"targets": [path]}
    with pytest.raises(ConfigError, match=r"leaves the application's directory"):
        await repo.render({"other/file": "theirs"}, **{block: config_block})


async def test_an_absolute_path_begins_at_the_applications_directory(repo: AppRepository) -> None:
    with pytest.raises(ConfigError, match="there is no file etc/passwd"):
        await repo.render({}, encryption={"encryptedSecrets": {}, "decryptionTargets": ["/etc/passwd"]})


@pytest.mark.parametrize("name", ["nothing", "folder", "loop"])
async def test_a_path_that_is_not_a_file_is_named_in_the_error(repo: AppRepository, name: str) -> None:
    (repo.clone.path / "shop").mkdir()
    (repo.clone.path / "shop" / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match=rf"spec\.attachment\.targets\[0\]: there is no file {name}"):
        await repo.render({"shop/folder/x": ""}, attachment={"targets": [name]})


async def test_bytes_that_are_not_text_are_preserved(repo: AppRepository) -> None:
    repo.clone.write({"shop/app.pipecd.yaml": app_file(attachment={"targets": ["x"]})})
    (repo.clone.path / "shop" / "x").write_bytes(b"\xff{{ `b2s=` | b64dec }}\r\n")
    commit = repo.clone.commit_and_push("Bytes")
    repository = Repository(id="shop", remote=repo.clone.remote, branch="main")
    sources = Sources(repo._mirrors, {"shop": repository}, Renderer(None, repo.redactor.add))
    at = GitPath(repo_id="shop", path="shop", config_filename="app.pipecd.yaml")
    async with sources.checkout(at, commit) as source:
        assert (source.directory / "x").read_bytes() == b"\xffok\r\n"


def test_without_secret_management_there_is_no_key_pair(tmp_path: Path) -> None:
    document = agent_spec("127.0.0.1:1", "id", tmp_path / "key", {})
    assert load_key_pair(config.load(json.dumps(document), "piped.yaml")) is None


def test_keys_may_be_inline_in_the_file(tmp_path: Path) -> None:
    config_block = keys.write_key_pair(tmp_path)["config"]
    data = {
        f"{name}Data": base64.b64encode(Path(config_block[f"{name}File"]).read_bytes()).decode()
        for name in ("privateKey", "publicKey")
    }
    pair = load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": data}))
    assert pair and pair.decryptor.decrypt(encrypt(pair.public, b"x")) == b"x"
    assert "PRIVATE" not in repr(pair)


def test_keys_that_do_not_match_are_rejected_at_startup(tmp_path: Path) -> None:
    first, other = keys.write_key_pair(tmp_path, "first"), keys.write_key_pair(tmp_path, "other")
    mixed = {**first["config"], "publicKeyFile": other["config"]["publicKeyFile"]}
    with pytest.raises(ConfigError, match=r"do not match.*openssl rsa"):
        load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": mixed}))


def test_an_unreadable_key_is_named_in_the_error(tmp_path: Path) -> None:
    config_block = {**keys.write_key_pair(tmp_path)["config"], "privateKeyFile": str(tmp_path / "nothing")}
    message = r"spec\.secretManagement\.config\.privateKeyFile: .*/nothing cannot be read"
    with pytest.raises(ConfigError, match=message):
        load_key_pair(spec_with(tmp_path, {"type": "KEY_PAIR", "config": config_block}))


async def test_the_guides_example_is_rendered(repo: AppRepository) -> None:
    text = (Path(__file__).parents[2] / "docs/guide/secrets.md").read_text()
    app, task = re.findall(r"^`[\w.]+`:\n\n```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    encrypted = repo.encrypt(SECRET)
    repo.clone.write({"shop/app.pipecd.yaml": app.replace("AQBk…", encrypted), "shop/taskdef.yaml": task})
    (content,) = await repo.checkout("taskdef.yaml")
    (container,) = yaml.safe_load(content)["containerDefinitions"]
    assert container["environment"] == [{"name": "PASSWORD", "value": SECRET}]


def test_the_guide_names_every_function() -> None:
    text = (Path(__file__).parents[2] / "docs/guide/secrets.md").read_text()
    (functions,) = re.findall(r"^Functions: (.*?)\.", text, re.MULTILINE | re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", functions)) == sorted(FUNCTIONS)
