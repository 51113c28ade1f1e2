"""Which Git servers the agent may read from, and which of them get its password.

Called by `tree` for submodules and LFS files: their addresses are written by the authors of a repository, who
must not gain access, or reach a local path or an internal host, through them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NoReturn

from pipecd.errors import Place, Refused
from pipecd.git.credentials import Credentials, with_password
from pipecd.remotes import host_name, http_origin
from pipecd.secrets import strip_credentials


@dataclass(frozen=True, kw_only=True)
class Access:
    """`remotes` are those in the agent's configuration."""

    credentials: Credentials
    remotes: Collection[str] = ()
    #: Hosts that submodules and LFS files may be on, besides the hosts of `remotes`.
    submodule_hosts: Collection[str] = ()

    def trusts(self, remote: str) -> bool:
        """Whether `remote` is configured, or on the host of a configured one."""
        name = host_name(remote)
        return remote in self.remotes or (bool(name) and name in map(host_name, self.remotes))

    def environment(self, env: Mapping[str, str], remote: str) -> Mapping[str, str]:
        """The environment for reading from `remote`: with the password if the agent trusts its server."""
        return with_password(env, self.credentials, self.remotes) if self.trusts(remote) else env

    def check(self, url: str, parent: str, what: str, place: Place) -> None:
        """Raise Refused unless the repository `parent` may refer to `url`. `what` names it in the error."""
        if any(ord(character) < ord(" ") for character in url) or url.startswith("-"):
            self._refuse(what, url, place, "is not a URL")
        if url in self.remotes:
            return
        scheme = _scheme(url)
        if scheme == "http":
            plain = [http_origin(remote) for remote in (parent, *self.remotes) if _scheme(remote) == "http"]
            if http_origin(url) not in plain:
                self._refuse(what, url, place, "is read over plain HTTP")
        elif scheme not in ("https", "ssh"):
            self._refuse(what, url, place, "is not an https or ssh URL")
        trusted = map(host_name, self.remotes) if self.trusts(parent) else ()
        hosts = {host_name(parent), *trusted, *(name.casefold() for name in self.submodule_hosts)}
        if host_name(url) not in hosts - {""}:
            self._refuse(what, url, place, "is on a host that the agent does not read from")

    def _refuse(self, what: str, url: str, place: Place, problem: str) -> NoReturn:
        raise Refused(
            f"{what} {strip_credentials(url)[:200]!r} {problem}",
            remedy="use https or ssh and the repository's own host, or name the host in"
            " spec.git.submoduleHosts of the agent",
            place=place,
        )


def resolve_relative(url: str, parent: str) -> str:
    """The absolute URL of a submodule: `./x` and `../x` are relative to `parent`, as in Git."""
    remote, separator = parent.rstrip("/"), "/"
    if not url.startswith(("./", "../")):
        return url
    while url.startswith(("./", "../")):
        if url.startswith("./"):
            url = url[2:]
            continue
        url = url[3:]
        # Of `git@host:name` the last part begins after the colon.
        position = max(remote.rfind("/"), remote.rfind(":"))
        separator = remote[position] if position >= 0 else "/"
        remote = remote[: max(position, 0)]
    return f"{remote}{separator}{url.rstrip('/')}"


def _scheme(url: str) -> str:
    """In lower case; `ssh` for `user@host:path`, and empty for a local path."""
    if "://" in url:
        return url.partition("://")[0].lower()
    return "ssh" if host_name(url) and "::" not in url else ""
