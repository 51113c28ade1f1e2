"""Nothing in a repository blocks the agent's event loop, or fails another application of the repository."""

from pathlib import Path

import pytest

from pipecd.config.document import MAX_VALUES
from pipecd.errors import ConfigError, NotFound
from pipecd.git.mirror import MAX_FILE_SIZE, MAX_MESSAGE_LENGTH, Mirrors
from pipecd.model.application import GitPath
from pipecd.model.trigger import on_commit
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import AppFile, Heads
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.secrets import Redactor
from tests.loop_latency import LIMIT, loop_latency
from tests.repo import Clone, local_clone
from tests.world import app_file


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return local_clone(tmp_path)


def heads(mirrors: Mirrors, clone: Clone) -> Heads:
    return Heads(mirrors, {"shop": Repository(id="shop", remote=clone.remote, branch="main")})


HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: TerraformApp\nspec:\n"
ALIASES = "\n".join(f"  a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(9))
FILES = {
    "aliases of aliases": HEAD + ALIASES,
    "many values": HEAD + "  labels: {" + ",".join(f"k{n}: v" for n in range(MAX_VALUES // 2 - 100)) + "}",
    "deep": HEAD + "  labels: " + "[" * 50_000,
    "a long duration": HEAD + f"  timeout: '{'1' * 900_000}'",
    "a long pattern": HEAD + f"  trigger: {{onCommit: {{paths: ['{'(a+)+' * 100_000}']}}}}",
    "many patterns": HEAD + f"  trigger: {{onCommit: {{paths: [{'x,' * 40_000}]}}}}",
    "many unknown keys": HEAD + "\n".join(f"  key{n}: 1" for n in range(20_000)),
    "a large file": "x" * (MAX_FILE_SIZE + 1),
    "a large comment": "#" * 1_000_000 + "\n" + HEAD,
}


async def test_hostile_files_fail_alone(mirrors: Mirrors, clone: Clone) -> None:
    files: dict[str, str | None] = {f"{name}/app.pipecd.yaml": text for name, text in FILES.items()}
    clone.commit_and_push("Hostile", {**files, "shop/app.pipecd.yaml": app_file(name="shop")})
    await mirrors.fetch(clone.remote)
    async with loop_latency() as latency:
        head = await heads(mirrors, clone).load_head("shop")
    assert latency.longest < LIMIT
    shop = head.files["shop/app.pipecd.yaml"]
    assert isinstance(shop, AppFile) and shop.name == "shop"
    errors = {path for path, file in head.files.items() if isinstance(file, ConfigError)}
    refused = set(FILES) - {"many values", "a large comment"}
    assert errors >= {f"{name}/app.pipecd.yaml" for name in refused}


async def test_a_large_file_cannot_be_loaded(mirrors: Mirrors, clone: Clone) -> None:
    commit = clone.commit_and_push("Large", {"shop/app.pipecd.yaml": "x" * (MAX_FILE_SIZE + 1)})
    repositories = {"shop": Repository(id="shop", remote=clone.remote, branch="main")}
    sources = Sources(mirrors, repositories, Renderer(None, Redactor().add))
    with pytest.raises(ConfigError, match="the limit is"):
        await sources.load_config(GitPath(repo_id="shop", path="shop"), commit)


async def test_a_commit_with_a_large_message_and_many_files_is_read(mirrors: Mirrors, clone: Clone) -> None:
    first = clone.commit_and_push("First", {"shop/app.pipecd.yaml": app_file()})
    names: dict[str, str | None] = {f"other/{n // 100}/{n}": "" for n in range(1_000)}
    clone.write(names)
    clone.git("add", "-A")
    (clone.path.parent / "message").write_text("word " * 100_000)
    clone.git("commit", "--quiet", "--file", str(clone.path.parent / "message"))
    clone.push()
    await mirrors.fetch(clone.remote)
    async with loop_latency() as latency:
        head = await heads(mirrors, clone).load_head("shop")
        changed = await mirrors.changed_files(clone.remote, first, head.commit.hash)
    assert latency.longest < LIMIT
    assert len(head.commit.message) <= MAX_MESSAGE_LENGTH and len(changed) == 1_000
    file = head.files["shop/app.pipecd.yaml"]
    assert isinstance(file, AppFile)
    rule = file.trigger.on_commit
    assert not on_commit(rule, directory="shop", last=first, head="b", changed=changed).triggered


async def test_a_link_inside_the_repository_is_an_application_file(mirrors: Mirrors, clone: Clone) -> None:
    for name in ("one", "two"):
        (clone.path / name).mkdir()
        (clone.path / name / "app.pipecd.yaml").symlink_to("../shared/app.yaml")
    (clone.path / "linked").symlink_to("one")
    commit = clone.commit_and_push("Links", {"shared/app.yaml": app_file(name="shop"), "one/value": "1"})
    head = await heads(mirrors, clone).load_head("shop", also=["linked/app.pipecd.yaml"])
    for name in ("one", "two"):
        file = head.files[f"{name}/app.pipecd.yaml"]
        assert isinstance(file, AppFile) and file.name == "shop"
    repositories = {"shop": Repository(id="shop", remote=clone.remote, branch="main")}
    sources = Sources(mirrors, repositories, Renderer(None, Redactor().add))
    at = GitPath(repo_id="shop", path="one", config_filename="app.pipecd.yaml")
    async with sources.checkout(at, commit) as source:
        assert source.config.spec.name == "shop" and (source.directory / "value").read_text() == "1"


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("/etc/passwd", ConfigError, "outside the repository"),
        ("../../secret.yaml", ConfigError, "outside the repository"),
        ("app.pipecd.yaml", NotFound, "not in commit"),
        ("nothing", NotFound, "not in commit"),
        ("..", NotFound, "not a file"),
    ],
)
async def test_a_link_to_anything_else_is_refused(
    mirrors: Mirrors, clone: Clone, target: str, error: type[Exception], message: str
) -> None:
    (clone.path / "bad").mkdir()
    (clone.path / "bad" / "app.pipecd.yaml").symlink_to(target)
    commit = clone.commit_and_push("Link", {"shop/app.pipecd.yaml": app_file(name="shop")})
    with pytest.raises(error, match=message):
        await mirrors.read(clone.remote, commit, "bad/app.pipecd.yaml")
    head = await heads(mirrors, clone).load_head("shop")
    assert isinstance(head.files["bad/app.pipecd.yaml"], ConfigError)
    assert isinstance(head.files["shop/app.pipecd.yaml"], AppFile)


async def test_a_path_with_a_line_break_names_no_other_file(mirrors: Mirrors, clone: Clone) -> None:
    commit = clone.commit_and_push("Add", {"a": "1", "b": "2"})
    found = await mirrors.find_files(clone.remote, commit, ["a\nb", "a", "none"])
    assert [isinstance(blob, str) for blob in found.values()] == [False, True, False]
