"""A release is installed only after its hashes and its signature are verified."""

import asyncio
import base64
import functools
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.launcher.desired import OWN_VERSION
from pipecd.launcher.release import open_releases
from pipecd.launcher.versions import Versions
from pipecd.process import capture
from tests.aws import REGION, credential_chain, emulated_aws
from tests.launcher.releases import publish, write_wheel


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    publish(tmp_path / "releases", "v9.1.0")
    return tmp_path / "releases"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.fixture
def web(releases: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Disables logging."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(releases)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def fetch(location: str, into: Path, key: str = "", version: str = "v9.1.0") -> list[str]:
    await open_releases(location, key).fetch(version, into)
    return sorted(file.name for file in into.iterdir())


async def test_a_release_is_fetched_from_a_directory(releases: Path, into: Path) -> None:
    assert await fetch(str(releases), into) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_a_release_is_fetched_from_a_server(web: str, into: Path) -> None:
    assert await fetch(web, into) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_a_release_is_fetched_from_a_bucket(
    releases: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulated_aws() as aws:
        environment = {**aws.environment(), "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true"}
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="releases", CreateBucketConfiguration={"LocationConstraint": REGION})
        for file in (releases / "v9.1.0").iterdir():
            s3.put_object(Bucket="releases", Key=f"piped/v9.1.0/{file.name}", Body=file.read_bytes())
        with credential_chain(monkeypatch, environment):
            assert await fetch("s3://releases/piped", into) == ["pipecd-9.1.0-py3-none-any.whl"]
            with pytest.raises(Refused, match=r"s3://releases/piped has no v9.2.0/SHA256SUMS; publish"):
                await fetch("s3://releases/piped", into, version="v9.2.0")


@pytest.mark.parametrize("fixture", ["releases", "web"])
async def test_a_missing_version_is_named_in_the_error(
    fixture: str, into: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(Refused, match=r"has no v9.2.0/SHA256SUMS; publish the release, or choose another"):
        await fetch(str(request.getfixturevalue(fixture)), into, version="v9.2.0")


async def test_a_modified_wheel_is_rejected_and_deleted(releases: Path, into: Path) -> None:
    wheel = releases / "v9.1.0" / "pipecd-9.1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes() + b"!")
    with pytest.raises(Refused, match=r"pipecd-9.1.0-py3-none-any.whl does not match its hash in SHA256SUMS"):
        await fetch(str(releases), into)
    assert list(into.iterdir()) == []


async def test_wheels_that_are_not_listed_are_not_fetched(releases: Path, into: Path) -> None:
    write_wheel(releases / "v9.1.0", "99.0", {"pipecd/__init__.py": "raise SystemExit('not listed')"})
    assert await fetch(str(releases), into) == ["pipecd-9.1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        ("", "lists no wheels"),
        (f"{'0' * 64}  ../../etc/passwd.whl\n", ":1 is not `hash  name`"),
        (f"{'0' * 64}  /etc/cron.d/x.whl\n", ":1 is not `hash  name`"),
        ("abc  pipecd-9.1.0-py3-none-any.whl\n", ":1 is not `hash  name`"),
        ("x" * 300_000, "SHA256SUMS is too large"),
    ],
)
async def test_an_invalid_list_of_hashes_is_rejected(
    releases: Path, into: Path, sums: str, message: str
) -> None:
    (releases / "v9.1.0" / "SHA256SUMS").write_text(sums)
    with pytest.raises(Refused) as caught:
        await fetch(str(releases), into)
    assert message in str(caught.value)
    assert list(into.iterdir()) == []


async def test_with_a_release_key_only_releases_signed_with_it_are_accepted(
    releases: Path, into: Path, tmp_path: Path
) -> None:
    release_key, other_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    key = tmp_path / "release.pem"
    key.write_bytes(release_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    sums, signature = releases / "v9.1.0" / "SHA256SUMS", releases / "v9.1.0" / "SHA256SUMS.sig"
    with pytest.raises(Refused, match=r"has no v9.1.0/SHA256SUMS.sig"):
        await fetch(str(releases), into, str(key))
    for invalid in (
        base64.b64encode(other_key.sign(sums.read_bytes())),
        b"not base64",
        base64.b64encode(b"short"),
    ):
        signature.write_bytes(invalid)
        with pytest.raises(Refused, match="does not match the release key; do not run this release"):
            await fetch(str(releases), into, str(key))
    assert list(into.iterdir()) == []
    signature.write_bytes(base64.b64encode(release_key.sign(sums.read_bytes())) + b"\n")
    assert await fetch(str(releases), into, str(key)) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_a_signature_made_with_openssl_is_accepted(releases: Path, into: Path, tmp_path: Path) -> None:
    """Signs the release with the commands in the guide."""
    release = releases / "v9.1.0"
    steps = f"""
        openssl genpkey -algorithm ed25519 -out {tmp_path}/private.pem
        openssl pkey -in {tmp_path}/private.pem -pubout -out {tmp_path}/release.pem
        cd {release} && sha256sum *.whl > SHA256SUMS
        openssl pkeyutl -sign -rawin -inkey {tmp_path}/private.pem -in SHA256SUMS | base64 > SHA256SUMS.sig
    """
    result = await capture(["sh", "-ec", steps], timeout=120)
    assert result.code == 0, result.stderr
    assert await fetch(str(releases), into, str(tmp_path / "release.pem")) == [
        "pipecd-9.1.0-py3-none-any.whl"
    ]


def test_invalid_locations_and_keys_raise_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set --releases to an existing directory"):
        open_releases(str(tmp_path / "nowhere"), "")
    with pytest.raises(ConfigError, match="use index, a directory, or a URL"):
        open_releases("gopher://releases", "")
    with pytest.raises(ConfigError, match="releases in a package index are not signed"):
        open_releases("index", "key.pem")
    with pytest.raises(ConfigError, match="no source of them; give --releases, or drop --release-key-file"):
        open_releases("", "nowhere.pem")
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(ConfigError, match="is not an Ed25519 public key"):
        open_releases(str(tmp_path), str(tmp_path / "key.pem"))


async def test_without_a_source_of_releases_only_the_launchers_own_version_runs(tmp_path: Path) -> None:
    versions = Versions(tmp_path, open_releases("", ""), timeout=200)
    assert await versions.command(OWN_VERSION)
    with pytest.raises(Refused, match="this launcher has no source of releases; give --releases=index"):
        await versions.command("v9.1.0")


async def test_a_version_is_installed_once_in_its_own_environment(releases: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", open_releases(str(releases), ""), timeout=200)
    command = await versions.command("v9.1.0")
    result = await capture([command[0], "-P", "-c", "import pipecd; print(pipecd.__file__)"], timeout=120)
    assert result.stdout.decode().startswith(str(tmp_path / "home" / "versions" / "v9.1.0"))
    (releases / "v9.1.0" / "SHA256SUMS").unlink()
    assert await versions.command("v9.1.0") == command


async def test_an_interrupted_installation_is_repeated(releases: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", open_releases(str(releases), ""), timeout=200)
    incomplete = tmp_path / "home" / "versions" / "v9.1.0" / "env" / "bin"
    incomplete.mkdir(parents=True)
    (incomplete / "python").write_text("incomplete")
    command = await versions.command("v9.1.0")
    assert (await capture([command[0], "-c", "import pipecd"], timeout=120)).code == 0


async def test_a_signed_release_is_not_accepted_as_another_version(
    releases: Path, into: Path, tmp_path: Path
) -> None:
    """An old release with known faults is replayed: its files and signature are copied to a new version."""
    release_key = Ed25519PrivateKey.generate()
    key = tmp_path / "release.pem"
    key.write_bytes(release_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    old = releases / "v9.1.0"
    (old / "SHA256SUMS.sig").write_bytes(
        base64.b64encode(release_key.sign((old / "SHA256SUMS").read_bytes()))
    )
    old.rename(releases / "v9.2.0")
    with pytest.raises(Refused, match=r"lists no pipecd-9\.2\.0-\*\.whl: it belongs to another version"):
        await fetch(str(releases), into, str(key), version="v9.2.0")
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil.pth", "/tmp/evil.pth", "a/../../evil.pth", "..\\evil.pth"])
async def test_a_wheel_with_files_outside_of_its_directory_is_rejected(
    into: Path, tmp_path: Path, name: str
) -> None:
    wheel = write_wheel(tmp_path / "dependency", "1.0", {name: "import os"}, name="dependency")
    release = publish(tmp_path / "releases", "v9.1.0", wheel)
    (release / wheel.name).write_bytes(wheel.read_bytes())
    with pytest.raises(Refused, match="outside of its directory; do not run this release"):
        await fetch(str(tmp_path / "releases"), into)
    assert not (into / wheel.name).exists()
    assert not (tmp_path / "evil.pth").exists()


async def test_a_file_that_is_no_archive_is_rejected(releases: Path, into: Path) -> None:
    wheel = releases / "v9.1.0" / "pipecd-9.1.0-py3-none-any.whl"
    wheel.write_text("not a zip file")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (releases / "v9.1.0" / "SHA256SUMS").write_text(f"{digest}  {wheel.name}\n")
    with pytest.raises(Refused, match="is not a wheel"):
        await fetch(str(releases), into)
    assert list(into.iterdir()) == []


async def test_a_wheel_of_another_version_fails_with_pips_error(tmp_path: Path) -> None:
    release = publish(tmp_path / "releases", "v9.1.0")
    older = write_wheel(tmp_path / "older", "9.0.0", {"pipecd/__init__.py": ""})
    renamed = release / "pipecd-9.1.0-py3-none-any.whl"
    renamed.write_bytes(older.read_bytes())
    digest = hashlib.sha256(renamed.read_bytes()).hexdigest()
    (release / "SHA256SUMS").write_text(f"{digest}  {renamed.name}\n")
    versions = Versions(tmp_path / "home", open_releases(str(tmp_path / "releases"), ""), timeout=200)
    with pytest.raises(Refused, match=r"pip failed: .*pipecd"):
        await versions.command("v9.1.0")
    assert not versions.is_installed("v9.1.0")


async def test_an_installation_that_takes_too_long_is_aborted(web: str, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", open_releases(web, ""), timeout=0.0)
    with pytest.raises(Refused, match=r"installing v9.1.0 takes longer than 0 s"):
        await versions.command("v9.1.0")


@pytest.fixture
def index(releases: Path, web: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a package index with one version. Its URL contains a password, which must stay secret."""
    wheel = releases / "v9.1.0" / "pipecd-9.1.0-py3-none-any.whl"
    page = releases / "simple" / "pipecd" / "index.html"
    page.parent.mkdir(parents=True)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    page.write_text(f'<a href="/v9.1.0/{wheel.name}#sha256={sha256}">{wheel.name}</a>')
    monkeypatch.setenv(
        "PIP_INDEX_URL", web.replace("http://", "http://reader:c4n4ry-of-the-index@") + "/simple"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return page


async def test_a_version_is_installed_from_a_package_index(index: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", open_releases("index", ""), timeout=200)
    command = await versions.command("v9.1.0")
    assert (await capture([command[0], "-c", "import pipecd"], timeout=120)).code == 0


async def test_a_wheel_must_match_the_hash_given_by_the_index(index: Path, tmp_path: Path) -> None:
    index.write_text(re.sub("sha256=.{8}", "sha256=00000000", index.read_text()))
    versions = Versions(tmp_path / "home", open_releases("index", ""), timeout=200)
    with pytest.raises(Refused, match=r"pip failed: .*HASH"):
        await versions.command("v9.1.0")
    assert not versions.is_installed("v9.1.0")


async def test_errors_do_not_contain_the_password_of_the_index(index: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", open_releases("index", ""), timeout=200)
    with pytest.raises(Refused) as caught:
        await versions.command("v9.2.0")
    assert "c4n4ry" not in str(caught.value)
    assert "No matching distribution found for pipecd" in str(caught.value)


async def test_an_unavailable_server_is_a_temporary_error(into: Path) -> None:
    async with asyncio.timeout(120):
        with pytest.raises(Temporary, match=r"http://127.0.0.1:9 does not answer for v9.1.0/SHA256SUMS"):
            await fetch("http://127.0.0.1:9", into)
