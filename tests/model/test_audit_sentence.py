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
    assert sentence(action, "update", "application", "shop", changed_kind=changed_kind) == said
