"""The agent's file: the spelling of keys."""

import pytest

from pipecd.config import piped
from pipecd.errors import ConfigError

HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n"


def test_errors_name_keys_as_pipecd_writes_them() -> None:
    with pytest.raises(ConfigError) as error:
        piped.load(HEAD + "  syncInterval: 1m\n", "piped.yaml")
    for key in ("spec.projectID", "spec.pipedID", "spec.apiAddress"):
        assert f"{key}: is missing" in str(error.value)


def test_the_case_of_keys_does_not_matter() -> None:
    spec = piped.load(
        HEAD
        + "  projectId: shop\n  PIPEDID: p1\n  pipedKeyData: eA==\n  apiaddress: a:1\n"
        + "  notifications: {receivers: [{name: n, slack: {hookUrl: u, channelId: c}}]}\n",
        "piped.yaml",
    )
    assert (spec.project_id, spec.piped_id, spec.api_address) == ("shop", "p1", "a:1")
    (receiver,) = spec.notifications.receivers
    assert receiver.slack and (receiver.slack.hook_url, receiver.slack.channel_id) == ("u", "c")
