"""Which roles the groups of a user give; pure."""

from collections.abc import Iterable, Mapping, Sequence

from pipecd.errors import PermissionDenied
from pipecd.model.access import BUILT_IN, VIEWER

#: Names of groups in an error.
_SHOWN = 10


def matching_groups(
    groups: Iterable[str], roles: Mapping[str, str], *, ignore_case: bool, built_in: bool
) -> Sequence[str]:
    """The keys of `roles` (group → role) that the user is in, and with `built_in` names of built-in roles.

    A user group takes precedence over a built-in role of the same name. `ignore_case`: GitHub's names differ
    in more than case.
    """
    fold = str.casefold if ignore_case else str
    given = {fold(group) for group in groups}
    matched = [group for group in roles if fold(group) in given]
    if built_in:
        matched += [role for role in BUILT_IN if role in given and role not in roles]
    return matched


def roles_of(matched: Iterable[str], roles: Mapping[str, str], *, stray_as_viewer: bool) -> Sequence[str]:
    """The roles that the groups of `matching_groups` have now; empty if the user may not sign in."""
    named = [roles.get(group) or (group if group in BUILT_IN else "") for group in matched]
    names = tuple(dict.fromkeys(name for name in named if name))
    return names or ((VIEWER,) if stray_as_viewer else ())


class NoRole(PermissionDenied):
    """The provider authenticated the user, who has no role in the project."""

    def __init__(self, what: str, project_id: str, username: str) -> None:
        self.project_id, self.username = project_id, username
        super().__init__(what)


def refuse(project_id: str, username: str, groups: Sequence[str], hint: str) -> NoRole:
    """The error of a user that has no role. `hint` says where the groups came from."""
    shown = ", ".join(group[:60] for group in groups[:_SHOWN]) or "none"
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    return NoRole(
        f"the user {username} is in none of the project's user groups; {hint}: {shown}{more}. Ask an"
        " administrator of the project to give a role to one of your groups",
        project_id,
        username,
    )


def refuse_without_claim(
    project_id: str, username: str, provider: str, claims: Sequence[str], scopes: Sequence[str]
) -> NoRole:
    """The error of a user about whose groups the provider said nothing. `claims` may have them."""
    *others, last = claims
    # As those of Dex, Authentik and Okta.
    scope = "" if "groups" in scopes else "; many providers do if `scopes` has the scope `groups`"
    names = f"a claim {', '.join(others)} or {last}" if others else f"the claim {last}"
    return NoRole(
        f"the user {username} is in none of the project's user groups; neither the ID token nor the user info"
        f" of {provider} has {names}. Ask an administrator to add you to a group at the provider, or to let"
        f" the provider send the claim{scope}",
        project_id,
        username,
    )
