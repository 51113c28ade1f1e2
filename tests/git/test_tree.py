"""A checkout has every file of its commit, as Git's own checkout has, or it is refused with the path."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, Refused, Temporary, UserError
from pipecd.git.access import resolve_relative
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.quickstart.git_server import GitServer
from tests.eventually import eventually
from tests.lfs_server import LfsServer, lfs_server
from tests.repo import Clone, served_clone

NO_CREDENTIALS = Credentials()
LFS = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture
def shop(server: GitServer, tmp_path: Path) -> Clone:
    return served_clone(server, tmp_path, "shop")


@pytest.fixture
def lfs() -> Iterator[LfsServer]:
    with lfs_server() as server:
        yield server


def add_submodule(clone: Clone, path: str, url: str, commit: str, more: str = "") -> None:
    """Without a name and a copy of its own, so that any URL can be given."""
    modules = clone.path / ".gitmodules"
    text = modules.read_text() if modules.exists() else ""
    clone.write({".gitmodules": f'{text}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{more}'})
    clone.git("add", "--all")
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")


def push(clone: Clone) -> str:
    """The commit of what was added."""
    clone.git("commit", "--quiet", "--message", "Change")
    clone.push()
    return clone.git("rev-parse", "HEAD")


@asynccontextmanager
async def checkout(mirrors: Mirrors, clone: Clone, commit: str, required: str = "app") -> AsyncIterator[Path]:
    await mirrors.fetch(clone.remote)
    async with mirrors.worktree(clone.remote, commit, required) as root:
        yield root


async def refusal(mirrors: Mirrors, clone: Clone, commit: str, required: str = "app") -> UserError:
    with pytest.raises(UserError) as caught:
        async with checkout(mirrors, clone, commit, required):
            raise AssertionError("it was checked out")
    assert not list((mirrors._home / "worktrees").iterdir())
    return caught.value


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and ".git/" not in f"{path}/")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


ATTRIBUTES = """\
*.txt text eol=crlf
id ident
wide working-tree-encoding=UTF-16
version export-subst
hidden export-ignore
evil filter=evil
"""


async def test_attributes_have_the_effect_that_they_have_in_gits_own_checkout(
    mirrors: Mirrors, shop: Clone, tmp_path: Path
) -> None:
    shop.write({".gitattributes": ATTRIBUTES, "app/.gitattributes": "*.sh eol=crlf\n"})
    shop.write({"a.txt": "one\ntwo\n", "app/run.sh": "a\nb\n", "id": "$Id$\n", "-first.txt": "1\n2\n"})
    shop.write({"version": "$Format:%H$\n", "hidden": "h\n", "evil": "plain\n"})
    (shop.path / "wide").write_bytes("grün\n".encode("utf-16"))
    (shop.path / "tool").write_text("#!/bin/sh\n")
    (shop.path / "tool").chmod(0o755)
    (shop.path / "link").symlink_to("tool")
    shop.git("add", "--all")
    commit = push(shop)
    shop.git("clone", "--quiet", shop.remote, str(tmp_path / "git's own"), at=tmp_path)
    async with checkout(mirrors, shop, commit) as root:
        assert contents(root) == contents(tmp_path / "git's own")
        assert (root / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
        assert (root / "app/run.sh").read_bytes() == b"a\r\nb\r\n"
        assert (root / "version").read_text() == "$Format:%H$\n"
        assert (root / "hidden").exists()
        assert os.access(root / "tool", os.X_OK) and (root / "link").is_symlink()


async def test_attributes_and_filters_of_the_machine_have_no_effect(
    shop: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = shop.commit_and_push("First", {"a.txt": "one\n", ".gitattributes": "a.txt filter=evil\n"})
    home = tmp_path / "machine"
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/attributes").write_text("* eol=crlf\n")
    (home / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {tmp_path}/ran; cat\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    async with (
        Mirrors(tmp_path / "home", Credentials(), User()) as mirrors,
        checkout(mirrors, shop, commit) as root,
    ):
        assert (root / "a.txt").read_bytes() == b"one\n"
    assert not (tmp_path / "ran").exists()


async def test_submodules_are_checked_out_also_nested_ones(
    mirrors: Mirrors, server: GitServer, shop: Clone, tmp_path: Path
) -> None:
    inner, outer = served_clone(server, tmp_path, "inner"), served_clone(server, tmp_path, "outer")
    deep = inner.commit_and_push("Inner", {"deep.tf": "inner\n", ".gitattributes": "*.tf eol=crlf\n"})
    outer.write({"outer.tf": "outer\n"})
    add_submodule(outer, "nested", "../inner.git", deep)
    middle = push(outer)
    outer.commit_and_push("Newer", {"outer.tf": "newer\n"})
    shop.write({"app/main.tf": "x"})
    add_submodule(shop, "app/modules/net", outer.remote, middle)
    commit = push(shop)
    async with checkout(mirrors, shop, commit) as root:
        modules = root / "app/modules/net"
        assert (modules / "outer.tf").read_text() == "outer\n"
        assert (modules / "nested/deep.tf").read_bytes() == b"inner\r\n"
        assert not list(root.rglob(".git"))
    # The remote is not asked again for a commit that is stored.
    (tmp_path / "remote/outer.git").rename(tmp_path / "remote/gone.git")
    async with checkout(mirrors, shop, commit) as root:
        assert (root / "app/modules/net/outer.tf").exists()


async def test_what_a_killed_process_left_is_removed_at_the_start(
    shop: Clone, server: GitServer, tmp_path: Path
) -> None:
    lib = served_clone(server, tmp_path, "lib")
    add_submodule(shop, "lib", "../lib.git", lib.commit_and_push("One", {"a": "1"}))
    first = push(shop)
    add_submodule(shop, "lib", "../lib.git", lib.commit_and_push("Two", {"a": "2"}))
    second, home = push(shop), tmp_path / "home"
    async with Mirrors(home, Credentials(), User()) as mirrors, checkout(mirrors, shop, first):
        pass
    (store,) = (home / "submodules").iterdir()
    (store / "shallow.lock").touch()
    (home / "lfs").mkdir(exist_ok=True)
    (home / "lfs/part-1").touch()
    async with Mirrors(home, Credentials(), User()) as mirrors, checkout(mirrors, shop, second) as root:
        assert (root / "lib/a").read_text() == "2"
        assert not (home / "lfs/part-1").exists()
    os.utime(store, (0, 0))
    async with Mirrors(home, Credentials(), User()):
        assert not store.exists()


async def test_a_submodule_that_no_branch_has_any_more_is_checked_out(
    mirrors: Mirrors, server: GitServer, shop: Clone, tmp_path: Path
) -> None:
    lib = served_clone(server, tmp_path, "lib")
    lib.commit_and_push("One", {"a": "1"})
    old = lib.commit_and_push("Two", {"a": "2"})
    lib.git("reset", "--hard", "--quiet", "HEAD~1")
    lib.git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    add_submodule(shop, "lib", "../lib.git", old)
    async with checkout(mirrors, shop, push(shop)) as root:
        assert (root / "lib/a").read_text() == "2"


REFUSED_URLS = {
    "another host": ("https://git.example.net/x.git", "is on a host that the agent does not read from"),
    "out of the host": ("../../../git.example.net/x.git", "is"),
    "plain http": ("http://git.example.net/x.git", "is read over plain HTTP"),
    "a local path": ("/etc", "is not an https or ssh URL"),
    "a file": ("file:///etc", "is not an https or ssh URL"),
    "git protocol": ("git://127.0.0.1/x.git", "is not an https or ssh URL"),
    "a command": ("ext::sh -c id", "is not an https or ssh URL"),
    "an option": ("--upload-pack=id", "is not a URL"),
}


@pytest.mark.parametrize("case", REFUSED_URLS)
async def test_a_submodule_from_elsewhere_is_refused_with_its_path(
    mirrors: Mirrors, shop: Clone, case: str
) -> None:
    url, problem = REFUSED_URLS[case]
    add_submodule(shop, "app/x", url, "1" * 40)
    error = await refusal(mirrors, shop, push(shop))
    assert isinstance(error, Refused) and error.place and error.place.file == ".gitmodules"
    assert problem in str(error) and "app/x" in str(error) and "spec.git.submoduleHosts" in str(error)


async def test_a_submodule_on_a_host_of_the_configuration_gets_the_agents_password(tmp_path: Path) -> None:
    users = {"ada": "correct-horse"}
    with GitServer(tmp_path / "private", users=users) as private, GitServer(tmp_path / "open") as open_server:
        credentials = Credentials(username="ada", password="correct-horse")
        private.create("lib")
        login = private.url("lib").replace("http://", "http://ada:correct-horse@")
        commit = Clone(tmp_path / "lib", login).commit_and_push("One", {"a": "1"})
        shop = served_clone(open_server, tmp_path, "shop")
        add_submodule(shop, "lib", private.url("lib"), commit)
        head = push(shop)
        remotes = [shop.remote, private.url("other")]
        async with (
            Mirrors(tmp_path / "home", credentials, User(), remotes=remotes) as mirrors,
            checkout(mirrors, shop, head) as root,
        ):
            assert (root / "lib/a").read_text() == "1"
        async with Mirrors(tmp_path / "untrusted", credentials, User(), remotes=[shop.remote]) as mirrors:
            assert "plain HTTP" in str(await refusal(mirrors, shop, head))


async def test_a_submodule_without_url_or_commit_is_refused_with_its_path(
    mirrors: Mirrors, server: GitServer, shop: Clone, tmp_path: Path
) -> None:
    shop.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},app/stray")
    error = await refusal(mirrors, shop, push(shop))
    assert "app/stray has no URL" in str(error) and "git rm --cached app/stray" in str(error)
    shop.git("update-index", "--force-remove", "app/stray")
    served_clone(server, tmp_path, "lib").commit_and_push("One", {"a": "1"})
    add_submodule(shop, "lib", "../lib.git", "1" * 40)
    error = await refusal(mirrors, shop, push(shop))
    assert isinstance(error, ConfigError) and "the submodule lib needs commit 111111111111" in str(error)


async def test_an_excluded_submodule_is_absent_and_refused_where_it_is_needed(
    mirrors: Mirrors, shop: Clone
) -> None:
    shop.write({"app/main.tf": "x"})
    add_submodule(shop, "docs/theme", "https://git.example.net/x.git", "1" * 40, "\tupdate = none\n")
    commit = push(shop)
    async with checkout(mirrors, shop, commit) as root:
        assert not (root / "docs/theme").exists()
    for required in ("docs", "docs/theme/app", ""):
        assert "docs/theme is excluded" in str(await refusal(mirrors, shop, commit, required))


@asynccontextmanager
async def lfs_mirrors(
    folder: Path, shop: Clone, lfs: LfsServer, credentials: Credentials = NO_CREDENTIALS
) -> AsyncIterator[Mirrors]:
    """An agent whose configuration has a repository on the LFS server, and one that uses it."""
    shop.write({".gitattributes": LFS, ".lfsconfig": f"[lfs]\n\turl = {lfs.url}\n", "app/main.tf": "x"})
    async with Mirrors(folder / "home", credentials, User(), remotes=[shop.remote, lfs.url]) as mirrors:
        yield mirrors


async def test_lfs_files_replace_their_pointers_and_are_downloaded_once(
    shop: Clone, lfs: LfsServer, tmp_path: Path
) -> None:
    async with lfs_mirrors(tmp_path, shop, lfs) as mirrors:
        shop.write({"app/model.bin": lfs.add(b"x" * 5000), "copy.bin": lfs.add(b"x" * 5000)})
        shop.write({"plain.bin": "not a pointer", "text": lfs.add(b"kept as a pointer")})
        (shop.path / "copy.bin").chmod(0o755)
        shop.git("add", "--all")
        commit = push(shop)
        for _ in range(2):
            async with checkout(mirrors, shop, commit) as root:
                assert (
                    (root / "app/model.bin").read_bytes() == b"x" * 5000 == (root / "copy.bin").read_bytes()
                )
                assert os.access(root / "copy.bin", os.X_OK)
                assert (root / "plain.bin").read_text() == "not a pointer"
                assert (root / "text").read_text().startswith("version")
        assert len(lfs.downloads) == 1


async def test_of_a_few_directories_all_files_are_written_and_none_of_others(
    lfs: LfsServer, server: GitServer, shop: Clone, tmp_path: Path
) -> None:
    """With the settings above them, their submodules, and their LFS files; others are not downloaded."""
    module = served_clone(server, tmp_path, "module")
    module_commit = module.commit_and_push("Add", {"main.tf": "module"})
    async with lfs_mirrors(tmp_path, shop, lfs) as mirrors:
        shop.write(
            {".gitattributes": f"{LFS}*.txt text eol=crlf\n", "apps/.gitattributes": "*.md eol=crlf\n"}
        )
        pointers = {name: lfs.add(name.encode()) for name in ("wanted", "other")}
        shop.write(
            {
                "apps/a/x.bin": pointers["wanted"],
                "apps/a/deep/x.txt": "a\n",
                "apps/a/x.md": "b\n",
                "apps/ab/y": "other",
                "apps/b/y.bin": pointers["other"],
                "base/z": "base",
                "z": "root",
            }
        )
        add_submodule(shop, "apps/a/module", module.remote, module_commit)
        # Otherwise the next `git add` would remove it.
        (shop.path / "apps/a/module").mkdir()
        add_submodule(shop, "apps/b/module", "https://elsewhere.invalid/x", module_commit)
        commit = push(shop)
        await mirrors.fetch(shop.remote)
        async with mirrors.shared_checkouts.open(shop.remote, commit, ["apps/a", "base"]) as shared:
            assert contents(shared.root) == {
                ".gitattributes": (shop.path / ".gitattributes").read_bytes(),
                ".gitmodules": (shop.path / ".gitmodules").read_bytes(),
                ".lfsconfig": (shop.path / ".lfsconfig").read_bytes(),
                "apps/.gitattributes": b"*.md eol=crlf\n",
                "apps/a/x.bin": b"wanted",
                "apps/a/deep/x.txt": b"a\r\n",
                "apps/a/x.md": b"b\r\n",
                "apps/a/module/main.tf": b"module",
                "base/z": b"base",
            }
        assert len(lfs.downloads) == 1


async def test_a_slow_download_does_not_delay_those_who_read_the_mirror(
    shop: Clone, lfs: LfsServer, tmp_path: Path
) -> None:
    async with lfs_mirrors(tmp_path, shop, lfs) as mirrors:
        mirrors._local = mirrors.trees.processes = asyncio.Semaphore(1)
        commit = shop.commit_and_push("LFS", {"app/model.bin": lfs.add(b"content")})
        lfs.gate.clear()

        async def check_out() -> None:
            async with checkout(mirrors, shop, commit):
                pass

        async def downloading() -> bool:
            return bool(lfs.downloads)

        task = asyncio.create_task(check_out())
        await eventually(downloading)
        assert await asyncio.wait_for(mirrors.entries(shop.remote, commit), 60)
        lfs.gate.set()
        await task


async def test_an_lfs_file_that_cannot_be_had_is_refused_with_its_path(
    shop: Clone, lfs: LfsServer, tmp_path: Path
) -> None:
    async with lfs_mirrors(tmp_path, shop, lfs) as mirrors:
        pointer = lfs.add(b"content")
        content = lfs.objects.popitem()
        commit = shop.commit_and_push("Missing", {"app/model.bin": pointer})
        error = await refusal(mirrors, shop, commit)
        assert "does not have app/model.bin" in str(error) and "git lfs push --all" in str(error)
        lfs.objects[content[0]] = b"CONTENT"
        with pytest.raises(Temporary, match=r"other bytes than app/model\.bin has"):
            async with checkout(mirrors, shop, commit):
                pass
        lfs.objects[content[0]] = b"content and more"
        with pytest.raises(Temporary, match="other bytes"):
            async with checkout(mirrors, shop, commit):
                pass
        huge = pointer.replace("size 7", f"size {10**13}")
        commit = shop.commit_and_push("Huge", {"app/model.bin": huge})
        assert "the limit is 4096 MiB" in str(await refusal(mirrors, shop, commit))


async def test_an_lfs_server_gets_the_password_only_if_the_configuration_has_it(
    shop: Clone, tmp_path: Path
) -> None:
    credentials = Credentials(username="ada", password="correct-horse")
    with lfs_server("ada:correct-horse") as lfs:
        async with lfs_mirrors(tmp_path, shop, lfs, credentials) as mirrors:
            commit = shop.commit_and_push("LFS", {"app/model.bin": lfs.add(b"content")})
            async with checkout(mirrors, shop, commit) as root:
                assert (root / "app/model.bin").read_bytes() == b"content"
        wrong = Credentials(username="ada", password="wrong")
        async with lfs_mirrors(tmp_path / "wrong", shop, lfs, wrong) as mirrors:
            error = await refusal(mirrors, shop, commit)
            assert "refuses access to app/model.bin" in str(error) and "spec.git" in str(error)
        async with Mirrors(tmp_path / "other", credentials, User(), remotes=[shop.remote]) as mirrors:
            assert "plain HTTP" in str(await refusal(mirrors, shop, commit))


async def test_a_repository_without_an_lfs_server_is_refused_with_the_path(
    mirrors: Mirrors, shop: Clone, lfs: LfsServer
) -> None:
    commit = shop.commit_and_push("LFS", {".gitattributes": LFS, "app/model.bin": lfs.add(b"content")})
    error = await refusal(mirrors, shop, commit)
    assert "app/model.bin is kept in LFS" in str(error) and "lfs.url" in str(error)


async def test_over_ssh_the_server_says_where_the_lfs_files_are(
    shop: Clone, lfs: LfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    answer = json.dumps({"href": lfs.url, "header": {}})
    ssh.write_text(f"#!/bin/sh\necho \"$*\" >> {tmp_path}/called\necho '{answer}'\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    commit = shop.commit_and_push("LFS", {".gitattributes": LFS, "app/model.bin": lfs.add(b"content")})
    remote, key = "ssh://git@git.example.com:2222/shop/shop.git", Credentials(ssh_key="KEY")
    async with Mirrors(tmp_path / "home", key, User()) as mirrors:
        await mirrors.fetch(shop.remote)
        (tmp_path / "files").mkdir()
        await mirrors.trees.write(
            mirrors.path(shop.remote), commit, tmp_path / "files", remote=remote, env=mirrors._env
        )
    assert (tmp_path / "files/app/model.bin").read_bytes() == b"content"
    called = (tmp_path / "called").read_text()
    assert "-i" in called and "KEY" not in called
    assert called.strip().endswith(
        "-p 2222 -- git@git.example.com git-lfs-authenticate /shop/shop.git download"
    )


async def test_excluded_lfs_files_are_absent_and_refused_where_they_are_needed(
    shop: Clone, lfs: LfsServer, tmp_path: Path
) -> None:
    async with lfs_mirrors(tmp_path, shop, lfs) as mirrors:
        config = f"[lfs]\n\turl = {lfs.url}\n\tfetchexclude = docs/**,*.iso\n"
        shop.write({".lfsconfig": config, "docs/a/film.bin": lfs.add(b"film"), "ok.bin": lfs.add(b"ok")})
        commit = shop.commit_and_push("LFS")
        async with checkout(mirrors, shop, commit) as root:
            assert not (root / "docs/a/film.bin").exists()
            assert (root / "ok.bin").read_bytes() == b"ok"
        assert "docs/a/film.bin is excluded" in str(await refusal(mirrors, shop, commit, "docs"))


async def test_an_lfs_file_of_a_submodule_comes_from_the_submodules_server(
    shop: Clone, lfs: LfsServer, server: GitServer, tmp_path: Path
) -> None:
    lib = served_clone(server, tmp_path, "lib")
    async with lfs_mirrors(tmp_path, lib, lfs) as mirrors:
        commit = lib.commit_and_push("LFS", {"model.bin": lfs.add(b"content")})
        add_submodule(shop, "vendor/lib", "../lib.git", commit)
        async with checkout(mirrors, shop, push(shop)) as root:
            assert (root / "vendor/lib/model.bin").read_bytes() == b"content"


async def test_a_file_encrypted_with_git_crypt_is_refused(mirrors: Mirrors, shop: Clone) -> None:
    shop.write({"app/.gitattributes": "secret filter=git-crypt\nopen filter=git-crypt\n", "app/open": "x"})
    (shop.path / "app/secret").write_bytes(b"\0GITCRYPT\0abc")
    shop.git("add", "--all")
    error = await refusal(mirrors, shop, push(shop))
    assert error.place and error.place.file == "app/secret" and "git-crypt" in str(error)


async def test_a_broken_file_of_settings_is_refused_with_its_path(mirrors: Mirrors, shop: Clone) -> None:
    add_submodule(shop, "lib", "../lib.git", "1" * 40)
    shop.write({".gitmodules": "[submodule\n"})
    shop.git("add", ".gitmodules")
    error = await refusal(mirrors, shop, push(shop))
    assert error.place and error.place.file == ".gitmodules"
    shop.write({".gitmodules": f"[include]\n\tpath = /etc/passwd\n#{'x' * 300_000}"})
    shop.git("add", ".gitmodules")
    assert "larger than 256 KiB" in str(await refusal(mirrors, shop, push(shop)))


RELATIVE_URLS = [
    ("../lib.git", "https://host/shop/shop.git", "https://host/shop/lib.git"),
    ("../../lib", "https://host/shop/shop.git", "https://host/lib"),
    ("./sub.git", "https://host/shop/shop.git/", "https://host/shop/shop.git/sub.git"),
    ("../lib.git", "git@host:shop/shop.git", "git@host:shop/lib.git"),
    ("../lib.git", "git@host:shop.git", "git@host:lib.git"),
    ("../lib.git", "ssh://git@host:2222/shop/shop.git", "ssh://git@host:2222/shop/lib.git"),
    ("https://other/x", "https://host/shop", "https://other/x"),
]


@pytest.mark.parametrize(("url", "parent", "expected"), RELATIVE_URLS)
def test_a_relative_url_is_resolved_as_git_does(url: str, parent: str, expected: str) -> None:
    assert resolve_relative(url, parent) == expected
