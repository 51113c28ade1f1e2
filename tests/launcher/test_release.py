"""Nothing of a release is installed before it is what its list, and its signature, say."""

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
from pipecd.launcher.release import releases_at
from pipecd.launcher.versions import Versions
from pipecd.process import capture
from tests.aws import REGION, chain, emulated_aws
from tests.launcher.releases import publish, wheel


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    publish(tmp_path / "releases", "v9.1.0")
    return tmp_path / "releases"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.fixture
def web(shelf: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(shelf)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def fetched(place: str, into: Path, key: str = "", version: str = "v9.1.0") -> list[str]:
    await releases_at(place, key).fetch(version, into)
    return sorted(one.name for one in into.iterdir())


async def test_a_release_comes_from_a_folder(shelf: Path, into: Path) -> None:
    assert await fetched(str(shelf), into) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_a_release_comes_from_a_server(web: str, into: Path) -> None:
    assert await fetched(web, into) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_a_release_comes_from_a_bucket(
    shelf: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulated_aws() as aws:
        where = {**aws.environment(), "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true"}
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="shelf", CreateBucketConfiguration={"LocationConstraint": REGION})
        for file in (shelf / "v9.1.0").iterdir():
            s3.put_object(Bucket="shelf", Key=f"piped/v9.1.0/{file.name}", Body=file.read_bytes())
        with chain(monkeypatch, where):
            assert await fetched("s3://shelf/piped", into) == ["pipecd-9.1.0-py3-none-any.whl"]
            with pytest.raises(Refused, match=r"s3://shelf/piped has no v9.2.0/SHA256SUMS; publish"):
                await fetched("s3://shelf/piped", into, version="v9.2.0")


@pytest.mark.parametrize("place", ["shelf", "web"])
async def test_a_version_that_is_not_there_is_named(
    place: str, into: Path, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(Refused, match=r"has no v9.2.0/SHA256SUMS; publish the release, or ask for another"):
        await fetched(str(request.getfixturevalue(place)), into, version="v9.2.0")


async def test_a_wheel_that_was_changed_is_refused_and_gone(shelf: Path, into: Path) -> None:
    changed = shelf / "v9.1.0" / "pipecd-9.1.0-py3-none-any.whl"
    changed.write_bytes(changed.read_bytes() + b"!")
    with pytest.raises(Refused, match=r"pipecd-9.1.0-py3-none-any.whl is not the file that SHA256SUMS lists"):
        await fetched(str(shelf), into)
    assert list(into.iterdir()) == []


async def test_wheels_that_are_not_listed_do_not_come_along(shelf: Path, into: Path) -> None:
    wheel(shelf / "v9.1.0", "99.0", {"pipecd/__init__.py": "raise SystemExit('stranger')"})
    assert await fetched(str(shelf), into) == ["pipecd-9.1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("sums", "why"),
    [
        ("", "lists no wheels"),
        (f"{'0' * 64}  ../../etc/passwd.whl\n", ":1 is not `hash  name`"),
        (f"{'0' * 64}  /etc/cron.d/x.whl\n", ":1 is not `hash  name`"),
        ("abc  pipecd-9.1.0-py3-none-any.whl\n", ":1 is not `hash  name`"),
        ("x" * 300_000, "SHA256SUMS is too large"),
    ],
)
async def test_a_list_that_is_none_is_refused(shelf: Path, into: Path, sums: str, why: str) -> None:
    (shelf / "v9.1.0" / "SHA256SUMS").write_text(sums)
    with pytest.raises(Refused) as caught:
        await fetched(str(shelf), into)
    assert why in str(caught.value)
    assert list(into.iterdir()) == []


async def test_with_a_release_key_only_its_signature_opens_the_door(
    shelf: Path, into: Path, tmp_path: Path
) -> None:
    ours, theirs = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    key = tmp_path / "release.pem"
    key.write_bytes(ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    sums, signature = shelf / "v9.1.0" / "SHA256SUMS", shelf / "v9.1.0" / "SHA256SUMS.sig"
    with pytest.raises(Refused, match=r"has no v9.1.0/SHA256SUMS.sig"):
        await fetched(str(shelf), into, str(key))
    for wrong in (
        base64.b64encode(theirs.sign(sums.read_bytes())),
        b"not base64",
        base64.b64encode(b"short"),
    ):
        signature.write_bytes(wrong)
        with pytest.raises(Refused, match="does not fit the release key; do not run this release"):
            await fetched(str(shelf), into, str(key))
    assert list(into.iterdir()) == []
    signature.write_bytes(base64.b64encode(ours.sign(sums.read_bytes())) + b"\n")
    assert await fetched(str(shelf), into, str(key)) == ["pipecd-9.1.0-py3-none-any.whl"]


async def test_openssl_makes_a_signature_that_fits(shelf: Path, into: Path, tmp_path: Path) -> None:
    """As the guide tells how to sign a release."""
    release = shelf / "v9.1.0"
    steps = f"""
        openssl genpkey -algorithm ed25519 -out {tmp_path}/private.pem
        openssl pkey -in {tmp_path}/private.pem -pubout -out {tmp_path}/release.pem
        cd {release} && sha256sum *.whl > SHA256SUMS
        openssl pkeyutl -sign -rawin -inkey {tmp_path}/private.pem -in SHA256SUMS | base64 > SHA256SUMS.sig
    """
    done = await capture(["sh", "-ec", steps], timeout=120)
    assert done.code == 0, done.stderr
    assert await fetched(str(shelf), into, str(tmp_path / "release.pem")) == ["pipecd-9.1.0-py3-none-any.whl"]


def test_places_and_keys_that_cannot_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --releases an existing folder"):
        releases_at(str(tmp_path / "nowhere"), "")
    with pytest.raises(ConfigError, match="give index, a folder, or a URL"):
        releases_at("gopher://shelf", "")
    with pytest.raises(ConfigError, match="releases of a package index carry no signature"):
        releases_at("index", "key.pem")
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(ConfigError, match="is no public Ed25519 key"):
        releases_at(str(tmp_path), str(tmp_path / "key.pem"))


async def test_without_a_place_only_the_own_version_runs(tmp_path: Path) -> None:
    versions = Versions(tmp_path, releases_at("", ""), timeout=200)
    assert await versions.command(OWN_VERSION)
    with pytest.raises(Refused, match="does not know where releases are; give --releases=index"):
        await versions.command("v9.1.0")


async def test_a_version_is_installed_once_in_an_environment_of_its_own(shelf: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", releases_at(str(shelf), ""), timeout=200)
    command = await versions.command("v9.1.0")
    told = await capture([command[0], "-P", "-c", "import pipecd; print(pipecd.__file__)"], timeout=120)
    assert told.stdout.decode().startswith(str(tmp_path / "home" / "versions" / "v9.1.0"))
    (shelf / "v9.1.0" / "SHA256SUMS").unlink()
    assert await versions.command("v9.1.0") == command


async def test_an_installation_that_was_cut_off_is_made_anew(shelf: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", releases_at(str(shelf), ""), timeout=200)
    half = tmp_path / "home" / "versions" / "v9.1.0" / "env" / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("half")
    command = await versions.command("v9.1.0")
    assert (await capture([command[0], "-c", "import pipecd"], timeout=120)).code == 0


async def test_a_release_without_the_agent_is_refused_with_pips_own_words(tmp_path: Path) -> None:
    release = publish(tmp_path / "releases", "v9.1.0")
    (release / "pipecd-9.1.0-py3-none-any.whl").rename(release / "pipecd-9.0.0-py3-none-any.whl")
    sums = (release / "SHA256SUMS").read_text()
    (release / "SHA256SUMS").write_text(sums.replace("9.1.0", "9.0.0"))
    versions = Versions(tmp_path / "home", releases_at(str(tmp_path / "releases"), ""), timeout=200)
    with pytest.raises(Refused, match=r"pip failed: No matching distribution found for pipecd.*==9.1.0"):
        await versions.command("v9.1.0")
    assert not versions.installed("v9.1.0")


async def test_an_installation_that_takes_too_long_is_given_up(web: str, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", releases_at(web, ""), timeout=0.0)
    with pytest.raises(Refused, match=r"installing v9.1.0 takes longer than 0 s"):
        await versions.command("v9.1.0")


@pytest.fixture
def index(shelf: Path, web: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with the one version; gives its page. The password must not get out."""
    made = shelf / "v9.1.0" / "pipecd-9.1.0-py3-none-any.whl"
    page = shelf / "simple" / "pipecd" / "index.html"
    page.parent.mkdir(parents=True)
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    page.write_text(f'<a href="/v9.1.0/{made.name}#sha256={sha256}">{made.name}</a>')
    monkeypatch.setenv(
        "PIP_INDEX_URL", web.replace("http://", "http://reader:c4n4ry-of-the-index@") + "/simple"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return page


async def test_a_version_comes_from_a_package_index(index: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", releases_at("index", ""), timeout=200)
    command = await versions.command("v9.1.0")
    assert (await capture([command[0], "-c", "import pipecd"], timeout=120)).code == 0


async def test_what_an_index_hands_out_is_held_to_the_hash_it_tells(index: Path, tmp_path: Path) -> None:
    index.write_text(re.sub("sha256=.{8}", "sha256=00000000", index.read_text()))
    versions = Versions(tmp_path / "home", releases_at("index", ""), timeout=200)
    with pytest.raises(Refused, match=r"pip failed: .*HASH"):
        await versions.command("v9.1.0")
    assert not versions.installed("v9.1.0")


async def test_the_password_of_an_index_is_in_no_error(index: Path, tmp_path: Path) -> None:
    versions = Versions(tmp_path / "home", releases_at("index", ""), timeout=200)
    with pytest.raises(Refused) as caught:
        await versions.command("v9.2.0")
    assert "c4n4ry" not in str(caught.value)
    assert "No matching distribution found for pipecd" in str(caught.value)


async def test_a_server_that_is_away_will_come_back(into: Path) -> None:
    async with asyncio.timeout(120):
        with pytest.raises(Temporary, match=r"http://127.0.0.1:9 does not answer for v9.1.0/SHA256SUMS"):
            await fetched("http://127.0.0.1:9", into)
