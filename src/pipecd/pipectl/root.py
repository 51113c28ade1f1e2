"""The root command of `pipectl` and its groups. `--help` imports no command module."""

from collections.abc import Mapping

import click

from pipecd import __version__
from pipecd.lazy_group import LazyGroup


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"Version: {__version__}")


def _group(name: str, help: str, lazy_commands: Mapping[str, tuple[str, str]]) -> LazyGroup:
    return LazyGroup(name=name, help=help, lazy_commands=lazy_commands)


application = _group(
    "application",
    "Add, list, sync and change applications.",
    {
        "add": ("pipecd.pipectl.applications:add", "Register an application."),
        "get": ("pipecd.pipectl.applications:get", "Show one application."),
        "list": ("pipecd.pipectl.applications:list_command", "List applications."),
        "sync": ("pipecd.pipectl.applications:sync", "Deploy an application's head commit."),
        "rollback": (
            "pipecd.pipectl.applications:rollback",
            "Deploy an earlier commit again and pin the application to it.",
        ),
        "unpin": ("pipecd.pipectl.applications:unpin", "Remove the pin of a rollback."),
        "enable": ("pipecd.pipectl.applications:enable", "Enable an application: the piped deploys it."),
        "disable": (
            "pipecd.pipectl.applications:disable",
            "Disable an application: it is not deployed.",
        ),
        "delete": (
            "pipecd.pipectl.applications:delete",
            "Delete an application; its resources are kept.",
        ),
    },
)
deployment = _group(
    "deployment",
    "Show deployments and their logs, wait for one, or approve one.",
    {
        "list": ("pipecd.pipectl.deployments:list_command", "List deployments, most recently changed first."),
        "get": ("pipecd.pipectl.deployments:get", "Show one deployment and its stages."),
        "logs": ("pipecd.pipectl.logs:logs", "Print the logs of a deployment's stages."),
        "approve": ("pipecd.pipectl.deployments:approve", "Approve a deployment that waits for approval."),
        "reject": ("pipecd.pipectl.deployments:reject", "Reject a deployment that waits for approval."),
        "wait-status": (
            "pipecd.pipectl.deployments:wait_status",
            "Wait until a deployment has a given status.",
        ),
    },
)
piped = _group(
    "piped",
    "Register, list, change, upgrade and restart pipeds, and renew their keys.",
    {
        "list": ("pipecd.pipectl.pipeds:list_command", "List the project's pipeds."),
        "register": ("pipecd.pipectl.pipeds:register", "Register a piped: prints its id and key."),
        "update": ("pipecd.pipectl.pipeds:update", "Change its name or description."),
        "enable": ("pipecd.pipectl.pipeds:enable", "Enable a piped."),
        "disable": ("pipecd.pipectl.pipeds:disable", "Disable a piped; it stops immediately."),
        "add-key": ("pipecd.pipectl.pipeds:add_key", "Add a second key, for a rotation."),
        "delete-old-keys": ("pipecd.pipectl.pipeds:delete_old_keys", "Delete all keys but the newest one."),
        "restart": ("pipecd.pipectl.pipeds:restart", "Restart a piped."),
        "upgrade": ("pipecd.pipectl.pipeds:upgrade", "Set the version of pipeds."),
    },
)
notification = _group(
    "notification",
    "List receivers of notifications, or test one.",
    {
        "list": (
            "pipecd.pipectl.notifications:list_command",
            "List the receivers of a piped or of the project.",
        ),
        "test": ("pipecd.pipectl.notifications:test", "Send a test message to a receiver."),
    },
)
event = _group(
    "event",
    "Register and list events.",
    {
        "register": ("pipecd.pipectl.events:register", "Register an event, such as a new image."),
        "list": ("pipecd.pipectl.events:list_command", "List events, and what became of them."),
    },
)
chain = _group(
    "chain",
    "Show deployment chains.",
    {
        "list": ("pipecd.pipectl.chains:list_command", "List chains, most recently changed first."),
        "get": ("pipecd.pipectl.chains:get", "Show one chain and what its deployments wait for."),
    },
)
trace = _group(
    "trace",
    "Show source commits and the deployments that they caused.",
    {
        "list": ("pipecd.pipectl.traces:list_command", "List source commits with their deployments."),
        "get": ("pipecd.pipectl.traces:get", "Show the deployments that a source commit caused."),
    },
)
audit = _group(
    "audit",
    "Read and verify the audit log of the project.",
    {
        "list": ("pipecd.pipectl.audit:list_command", "List who changed what, newest first."),
        "export": ("pipecd.pipectl.audit:export", "Write the audit log as JSON lines or CloudEvents."),
        "verify": ("pipecd.pipectl.audit:verify", "Verify that no entry was changed or removed."),
    },
)


static_admin = _group(
    "static-admin",
    "Set, enable or disable the user who signs in with a password.",
    {
        "set": ("pipecd.pipectl.projects:set_static_admin", "Set its user name and password."),
        "enable": ("pipecd.pipectl.projects:enable_static_admin", "Enable it: it can sign in."),
        "disable": ("pipecd.pipectl.projects:disable_static_admin", "Disable it. Its sessions end."),
    },
)
sso = _group(
    "sso",
    "Set or remove the provider of single sign-on.",
    {
        "set": ("pipecd.pipectl.projects:set_sso", "Set the provider of single sign-on."),
        "remove": ("pipecd.pipectl.projects:remove_sso", "Remove it. Its users' sessions end."),
    },
)
project = _group(
    "project",
    "Show and change the settings of the project.",
    {
        "get": ("pipecd.pipectl.projects:get", "Show the settings of the project."),
        "update": ("pipecd.pipectl.projects:update", "Change the description, or who may sign in."),
        "static-admin": (
            "pipecd.pipectl.root:static_admin",
            "Set, enable or disable the user who signs in with a password.",
        ),
        "sso": ("pipecd.pipectl.root:sso", "Set or remove the provider of single sign-on."),
    },
)
role = _group(
    "role",
    "List and change the roles of the project.",
    {
        "list": ("pipecd.pipectl.roles:list_command", "List the roles and their policies."),
        "add": ("pipecd.pipectl.roles:add", "Add a role."),
        "update": ("pipecd.pipectl.roles:update", "Replace the policies of a role."),
        "delete": ("pipecd.pipectl.roles:delete", "Delete a role that no user group has."),
    },
)
user_group = _group(
    "user-group",
    "List and change which groups of the sign-in provider have roles.",
    {
        "list": ("pipecd.pipectl.roles:list_groups", "List the user groups and their roles."),
        "add": ("pipecd.pipectl.roles:add_group", "Give a role to the members of a group."),
        "delete": ("pipecd.pipectl.roles:delete_group", "Take its role from a group."),
    },
)
api_key = _group(
    "api-key",
    "List, create and disable API keys.",
    {
        "list": ("pipecd.pipectl.api_keys:list_command", "List the API keys: role, last use, expiry."),
        "create": ("pipecd.pipectl.api_keys:create", "Create an API key. It is printed once."),
        "disable": ("pipecd.pipectl.api_keys:disable", "Disable an API key, for good and at once."),
    },
)
session = _group(
    "session",
    "List and end the sessions of the console.",
    {
        "list": ("pipecd.pipectl.sessions:list_command", "List the sessions of the console."),
        "end": ("pipecd.pipectl.sessions:end", "End sessions: users have to sign in again."),
    },
)


transfer_restore = _group(
    "restore",
    "Register the pipeds and the applications of a backup.",
    {
        "piped": ("pipecd.pipectl.transfers:restore_piped", "Register the pipeds of a backup."),
        "application": (
            "pipecd.pipectl.transfers:restore_application",
            "Register the applications of a backup.",
        ),
    },
)
transfer = _group(
    "transfer",
    "Move pipeds and applications to another control plane.",
    {
        "backup": ("pipecd.pipectl.transfers:backup", "Write pipeds and applications to a file."),
        "restore": (
            "pipecd.pipectl.root:transfer_restore",
            "Register the pipeds and the applications of a backup.",
        ),
    },
)
plugin = _group(
    "plugin",
    "Publish plugins of PipeCD v1.",
    {"push": ("pipecd.pipectl.plugins:push", "Push a plugin to an OCI registry.")},
)
migrate = _group(
    "migrate",
    "Prepare applications for pipeds of PipeCD v1.",
    {
        "application-config": (
            "pipecd.pipectl.migrations:application_config",
            "Convert application files to `kind: Application`.",
        ),
        "database": ("pipecd.pipectl.migrations:database", "Set the deploy targets of applications."),
    },
)


@click.group(
    cls=LazyGroup,
    name="pipectl",
    lazy_commands={
        "application": ("pipecd.pipectl.root:application", "Add, list, sync and change applications."),
        "deployment": (
            "pipecd.pipectl.root:deployment",
            "Show deployments and their logs, wait for one, or approve one.",
        ),
        "piped": (
            "pipecd.pipectl.root:piped",
            "Register, list, change, upgrade and restart pipeds, and renew their keys.",
        ),
        "notification": (
            "pipecd.pipectl.root:notification",
            "List receivers of notifications, or test one.",
        ),
        "event": ("pipecd.pipectl.root:event", "Register and list events."),
        "chain": ("pipecd.pipectl.root:chain", "Show deployment chains."),
        "trace": (
            "pipecd.pipectl.root:trace",
            "Show source commits and the deployments that they caused.",
        ),
        "insights": ("pipecd.pipectl.insights:insights", "Show the delivery figures of the project."),
        "audit": ("pipecd.pipectl.root:audit", "Read and verify the audit log of the project."),
        "project": ("pipecd.pipectl.root:project", "Show and change the settings of the project."),
        "role": ("pipecd.pipectl.root:role", "List and change the roles of the project."),
        "user-group": (
            "pipecd.pipectl.root:user_group",
            "List and change which groups of the sign-in provider have roles.",
        ),
        "api-key": ("pipecd.pipectl.root:api_key", "List, create and disable API keys."),
        "session": ("pipecd.pipectl.root:session", "List and end the sessions of the console."),
        "encrypt": ("pipecd.pipectl.secrets:encrypt", "Encrypt a secret for a piped."),
        "plan-preview": ("pipecd.pipectl.previews:plan_preview", "Show what a pull request would change."),
        "transfer": (
            "pipecd.pipectl.root:transfer",
            "Move pipeds and applications to another control plane.",
        ),
        "plugin": ("pipecd.pipectl.root:plugin", "Publish plugins of PipeCD v1."),
        "migrate": ("pipecd.pipectl.root:migrate", "Prepare applications for pipeds of PipeCD v1."),
        "completion": ("pipecd.pipectl.completion:completion", "Print a completion script for a shell."),
        "version": ("pipecd.pipectl.root:version", "Print the version."),
    },
)
@click.version_option(__version__, prog_name="pipectl")
def command() -> None:
    """The command line of PipeCD, for people and CI.

    Exit codes: 0 success; 1 failure, with the reason on standard error; 2 wrong usage; 130 interrupted.
    """
