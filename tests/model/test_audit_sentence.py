"""What entries of the audit log say."""

import pytest

from pipecd.model.audit_sentence import sentence


@pytest.mark.parametrize(
    ("action", "changed_kind", "said"),
    [
        (
            "/x.ConsoleService/RollBackTo",
            "application",
            "pinned application shop to the commit of an earlier deployment",
        ),
        (
            "/x.ConsoleService/RollBackTo",
            "command",
            "requested to roll application shop back to an earlier deployment",
        ),
        ("/x.ConsoleService/Unpin", "application", "unpinned application shop"),
        ("/x.ConsoleService/Unheard", "application", "changed application shop (unheard)"),
    ],
)
def test_changes_of_one_call_have_their_own_sentences(action: str, changed_kind: str, said: str) -> None:
    values: dict[str, str] = {}
    written = sentence(
        action, "update", "application", "shop", before=values, after=values, changed_kind=changed_kind
    )
    assert written == said


@pytest.mark.parametrize(
    ("action", "operation", "before", "after", "said"),
    [
        (
            "AddProjectRBACRole",
            "update",
            {},
            {"rbac_roles[ops]": "", "rbac_roles[ops].name": "ops", "rbac_roles[ops].policies[0]": ""},
            "added the role ops",
        ),
        (
            "UpdateProjectRBACRole",
            "update",
            {},
            {"rbac_roles[ops].policies[1]": "", "rbac_roles[ops].policies[1].actions[0]": "GET"},
            "changed the role ops",
        ),
        ("DeleteProjectRBACRole", "update", {"rbac_roles[ops].name": "ops"}, {}, "deleted the role ops"),
        # As earlier versions wrote them: with the index.
        (
            "DeleteProjectRBACRole",
            "update",
            {"rbac_roles[0].name": "ops", "rbac_roles[1].name": "dev"},
            {"rbac_roles[0].name": "dev"},
            "deleted the role ops",
        ),
        ("UpdateProjectRBACRole", "update", {}, {"rbac_roles[1].policies[1]": ""}, "changed a role"),
        (
            "AddProjectUserGroup",
            "update",
            {},
            {
                "user_groups[org/a]": "",
                "user_groups[org/a].sso_group": "org/a",
                "user_groups[org/a].role": "ops",
            },
            "gave the role ops to the user group org/a",
        ),
        (
            "DeleteProjectUserGroup",
            "update",
            {"user_groups[org/a].sso_group": "org/a", "user_groups[org/a].role": "ops"},
            {},
            "deleted the user group org/a",
        ),
        ("DeleteProjectUserGroup", "update", {"rbac.editor": "org/b"}, {}, "deleted the user group org/b"),
        (
            "AddProjectReceiver",
            "update",
            {},
            {"receivers[a].b]": "", "receivers[a].b].name": "a].b"},
            "added the receiver of notifications a].b",
        ),
        (
            "UpdateProjectReceiver",
            "update",
            {"receivers[chat].webhook.url": "***"},
            {"receivers[chat].webhook.url": "***"},
            "changed the receiver of notifications chat",
        ),
        (
            "TestProjectReceiver",
            "update",
            {},
            {"test message to": "chat"},
            "sent a test message to the receiver chat of the project",
        ),
        (
            "TestReceiver",
            "update",
            {},
            {"test message to": "chat"},
            "sent a test message to the receiver chat of project shop",
        ),
        ("EndSessions", "delete", {"username": "ann", "address": "::1"}, {}, "ended a session of ann"),
        (
            "sign-in",
            "delete",
            {"username": "ann"},
            {},
            "ended their least recently used session by signing in once more",
        ),
        ("sign-in", "refuse", {}, {"reason": "wrong password"}, "was refused a sign-in: wrong password"),
        # Braces of a name are no placeholders, and values that were cut have no name.
        ("EndSessions", "delete", {"username": "{it}"}, {}, "ended a session of {it}"),
        ("AddProjectRBACRole", "update", {}, {"…": "further fields may have changed"}, "added a role"),
    ],
)
def test_a_sentence_names_what_only_the_values_name(
    action: str, operation: str, before: dict[str, str], after: dict[str, str], said: str
) -> None:
    assert sentence(action, operation, "project", "shop", before=before, after=after) == said
