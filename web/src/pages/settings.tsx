// The settings of the project: description, sign-in, roles and user groups. Read-only for a project that the
// configuration file defines.

import { Alert, Badge, Button, Code, Group, Select, Skeleton, Stack, Switch, Table, Text, Textarea, TextInput, VisuallyHidden } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { consoleClient, webClient } from "../api";
import { useProjectChange } from "../changes";
import { Breakable } from "../components/breakable";
import { ConfirmDialog, useDialog } from "../components/confirm-dialog";
import { ErrorAlert } from "../components/error-alert";
import { fieldErrors, tooLong } from "../field-errors";
import { type DialogProps, FormDialog, Problem } from "../components/form-dialog";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import tableClasses from "../components/table.module.css";
import type { StatusDisplay } from "../display-names";
import { ProjectReceivers } from "../features/receivers/project-receivers";
import { SsoSection } from "../features/sso/sso-section";
import { ACTION_NAMES, formatPolicies, formatPolicy, parsePolicies, RESOURCE_NAMES } from "../policies";
import { key } from "../queries";
import type { ProjectRBACRole, ProjectUserGroup } from "../schema/model/access_pb";
import type { Project } from "../schema/model/project_pb";
import { ConsoleService, type SeeProjectResponse } from "../schema/pipecd/v1/console_pb";
import { useMay } from "../use-may";

export function SettingsPage() {
  const settings = useQuery({
    queryKey: key.project,
    queryFn: ({ signal }) => consoleClient.seeProject({}, { signal }),
  });
  return (
    <Stack gap="lg">
      <PageHeader title="Settings" description="Who may sign in to this project, what they may do, and who is notified." />
      {settings.isPending && <Skeleton height={320} role="status" aria-label="Loading the settings" />}
      {settings.isError && !settings.data && (
        <ErrorAlert title="The settings could not be loaded" error={settings.error} retry={() => settings.refetch()} />
      )}
      {settings.data?.project && <Sections settings={settings.data} project={settings.data.project} />}
    </Stack>
  );
}

interface SectionProps {
  project: Project;
  readOnly: boolean;
}

function Sections({ settings, project }: { settings: SeeProjectResponse; project: Project }) {
  const mayChange = useMay()(ConsoleService.method.updateProject);
  const readOnly = settings.readOnly || !mayChange;
  return (
    <>
      {!mayChange && (
        <Alert variant="light" title="Read-only">
          Your roles allow you to see the settings of the project, not to change them.
        </Alert>
      )}
      {mayChange && settings.readOnly && (
        <Alert variant="light" title="Read-only">
          The control plane&apos;s configuration file defines this project. Change it there, then restart the control plane.
        </Alert>
      )}
      <ProjectSection project={project} readOnly={readOnly} />
      <StaticAdminSection project={project} readOnly={readOnly} />
      <SsoSection settings={settings} project={project} readOnly={readOnly} />
      <RolesSection project={project} readOnly={readOnly} />
      <GroupsSection project={project} readOnly={readOnly} />
      <ProjectReceivers mayChange={mayChange} />
    </>
  );
}

const ENABLED: StatusDisplay = { text: "Enabled", tone: "good" };
const DISABLED: StatusDisplay = { text: "Disabled", tone: "quiet" };

/** What the control plane accepts. */
const MAX_DESCRIPTION = 1000;

function ProjectSection({ project, readOnly }: SectionProps) {
  const [description, setDescription] = useState(project.desc);
  const save = useProjectChange(() => consoleClient.updateProject({ description }));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate();
  };
  return (
    <Section title="Project">
      <form onSubmit={submit}>
        <Stack gap="sm" maw={560}>
          <TextInput label="ID" value={project.id} readOnly description="Pipeds and keys belong to it; it never changes." />
          <TextInput
            label="Description"
            value={description}
            readOnly={readOnly}
            error={tooLong(description, MAX_DESCRIPTION)}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
          <Problem error={save.error} />
          {!readOnly && (
            <Group>
              <Button type="submit" variant="default" loading={save.isPending} disabled={description === project.desc || description.length > MAX_DESCRIPTION}>
                Save description
              </Button>
            </Group>
          )}
        </Stack>
      </form>
    </Section>
  );
}

function StaticAdminSection({ project, readOnly }: SectionProps) {
  const dialog = useDialog<"disable" | "change">();
  const enable = useProjectChange(() => webClient.enableStaticAdmin({}));
  const disable = useProjectChange(() => webClient.disableStaticAdmin({}));
  const enabled = !project.staticAdminDisabled;
  const username = project.staticAdmin?.username ?? "";
  return (
    <Section title="Static admin">
      <Stack gap="sm">
        <Text size="sm">A user with the role Admin, who signs in with a password instead of single sign-on.</Text>
        <Group gap="md">
          {readOnly ? (
            <StatusBadge status={enabled ? ENABLED : DISABLED} />
          ) : (
            <Switch
              label={enabled ? "Enabled" : "Disabled"}
              checked={enabled}
              disabled={!enabled && !username}
              description={!enabled && !username ? "Set its user name and password first." : undefined}
              onChange={() => (enabled ? dialog.open("disable") : enable.mutate())}
            />
          )}
          {username && (
            <Text size="sm">
              User name: <b>{username}</b>
            </Text>
          )}
          {!readOnly && (
            <Button variant="default" size="compact-sm" onClick={() => dialog.open("change")}>
              Change user name and password
            </Button>
          )}
        </Group>
        <Problem error={enable.error} />
      </Stack>
      <ConfirmDialog
        title="Disable the static admin?"
        verb="Disable"
        dangerous
        run={() => disable.mutateAsync()}
        opened={dialog.isOpen("disable")}
        close={dialog.close}
      >
        Its sessions end at once, this one too if it is yours. An operator of the control plane can enable it again with{" "}
        <Code>pipecd projects reset-password</Code>.
      </ConfirmDialog>
      <PasswordDialog username={username} opened={dialog.isOpen("change")} close={dialog.close} />
    </Section>
  );
}

function PasswordDialog({ username, opened, close }: DialogProps & { username: string }) {
  const [name, setName] = useState(username);
  const [password, setPassword] = useState("");
  const change = useProjectChange(
    () => webClient.updateProjectStaticAdmin({ username: name.trim(), password }),
    () => {
      setPassword("");
      close();
    },
  );
  const errors = fieldErrors(change.error, { name: "username", password: "password" });
  return (
    <FormDialog
      title="User name and password of the static admin"
      verb="Change"
      disabled={!name.trim() || !password}
      change={change}
      error={errors.other}
      opened={opened}
      close={close}
    >
      <TextInput
        label="User name"
        required
        autoComplete="username"
        value={name}
        error={errors.at.name}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <TextInput
        label="New password"
        type="password"
        required
        autoComplete="new-password"
        description="At least 8 characters. Sessions that were started with the old password end."
        value={password}
        error={errors.at.password}
        onChange={(event) => setPassword(event.currentTarget.value)}
      />
    </FormDialog>
  );
}

function RolesSection({ project, readOnly }: SectionProps) {
  const [adding, setAdding] = useState(false);
  return (
    <Section
      title="Roles"
      flush
      aside={
        !readOnly && (
          <Button variant="default" size="compact-sm" onClick={() => setAdding(true)}>
            Add role
          </Button>
        )
      }
    >
      <Table className={`${tableClasses.table} ${tableClasses.cards}`} aria-label="Roles">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Role</Table.Th>
            <Table.Th>Policies</Table.Th>
            <Table.Th>
              <VisuallyHidden>Actions</VisuallyHidden>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {project.rbacRoles.map((role) => (
            <RoleRow key={role.name} role={role} readOnly={readOnly || role.isBuiltin} />
          ))}
        </Table.Tbody>
      </Table>
      <RoleDialog opened={adding} close={() => setAdding(false)} />
    </Section>
  );
}

function RoleRow({ role, readOnly }: { role: ProjectRBACRole; readOnly: boolean }) {
  const dialog = useDialog<"edit" | "delete">();
  const remove = useProjectChange(() => webClient.deleteProjectRBACRole({ name: role.name }));
  return (
    <Table.Tr>
      <Table.Td style={{ verticalAlign: "top" }}>
        <Group gap="xs">
          <Text inherit fw={600}>{role.name}</Text>
          {role.isBuiltin && (
            <Badge variant="light" color="gray">
              Built-in
            </Badge>
          )}
        </Group>
      </Table.Td>
      <Table.Td data-label="Policies">
        <Stack gap={2}>
          {role.policies.map((policy, index) => (
            <span key={index} className="mono" style={{ overflowWrap: "anywhere" }}>
              <Breakable text={formatPolicy(policy)} />
            </span>
          ))}
        </Stack>
      </Table.Td>
      <Table.Td style={{ verticalAlign: "top" }}>
        {!readOnly && (
          <Group gap="xs" wrap="nowrap" justify="flex-end">
            <Button
              size="compact-sm"
              variant="subtle"
              aria-label={`Edit role ${role.name}`}
              onClick={() => dialog.open("edit")}
            >
              Edit
            </Button>
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Delete role ${role.name}`}
              onClick={() => dialog.open("delete")}
            >
              Delete
            </Button>
          </Group>
        )}
        <RoleDialog role={role} opened={dialog.isOpen("edit")} close={dialog.close} />
        <ConfirmDialog
          title={`Delete role ${role.name}?`}
          verb="Delete"
          dangerous
          run={() => remove.mutateAsync()}
          opened={dialog.isOpen("delete")}
          close={dialog.close}
        >
          A role that a user group has cannot be deleted.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}

function RoleDialog({ role, opened, close }: DialogProps & { role?: ProjectRBACRole }) {
  const [name, setName] = useState(role?.name ?? "");
  const [text, setText] = useState(role ? formatPolicies(role.policies) : "");
  const change = useProjectChange(
    async () => {
      const request = { name: name.trim(), policies: parsePolicies(text) };
      await (role ? webClient.updateProjectRBACRole(request) : webClient.addProjectRBACRole(request));
    },
    () => {
      if (!role) setName("");
      if (!role) setText("");
      close();
    },
  );
  const errors = fieldErrors(change.error, { name: "name", policies: "policies" });
  return (
    <FormDialog
      title={role ? `Edit role ${role.name}` : "Add role"}
      verb={role ? "Save" : "Add"}
      disabled={!name.trim() || !text.trim()}
      change={change}
      error={errors.other}
      opened={opened}
      close={close}
    >
      {!role && (
        <TextInput
          label="Name"
          required
          description="Up to 63 letters, digits, - and _, a letter first."
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={errors.at.name}
          data-autofocus
        />
      )}
      <Textarea
        label="Policies"
        required
        autosize
        minRows={4}
        description={
          <>
            One per paragraph, as in PipeCD. Resources: {RESOURCE_NAMES.join(", ")}. Actions: {ACTION_NAMES.join(", ")}.
            Labels limit applications, deployments and events.
          </>
        }
        placeholder={"resources=application{env:dev},deployment{env:dev};actions=get,list"}
        classNames={{ input: "mono" }}
        value={text}
        error={errors.at.policies}
        onChange={(event) => setText(event.currentTarget.value)}
      />
    </FormDialog>
  );
}

function GroupsSection({ project, readOnly }: SectionProps) {
  const [adding, setAdding] = useState(false);
  return (
    <Section
      title="User groups"
      flush
      aside={
        !readOnly && (
          <Button variant="default" size="compact-sm" onClick={() => setAdding(true)}>
            Add group
          </Button>
        )
      }
    >
      <Text size="sm" className="faint" px="md" pb="sm">
        A group of the sign-in provider, such as the team org/team of GitHub, gives its members a role.
      </Text>
      {project.userGroups.length > 0 && (
        <Table className={`${tableClasses.table} ${tableClasses.cards}`} aria-label="User groups">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Group</Table.Th>
              <Table.Th>Role</Table.Th>
              <Table.Th>
              <VisuallyHidden>Actions</VisuallyHidden>
            </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {project.userGroups.map((group) => (
              <GroupRow key={`${group.ssoGroup} ${group.role}`} group={group} readOnly={readOnly} />
            ))}
          </Table.Tbody>
        </Table>
      )}
      <GroupDialog roles={project.rbacRoles.map(({ name }) => name)} opened={adding} close={() => setAdding(false)} />
    </Section>
  );
}

function GroupRow({ group, readOnly }: { group: ProjectUserGroup; readOnly: boolean }) {
  const dialog = useDialog<"delete">();
  const remove = useProjectChange(() => webClient.deleteProjectUserGroup({ ssoGroup: group.ssoGroup }));
  return (
    <Table.Tr>
      <Table.Td>
        <Text inherit fw={600} style={{ overflowWrap: "anywhere" }}>
          {group.ssoGroup}
        </Text>
      </Table.Td>
      <Table.Td data-label="Role">{group.role}</Table.Td>
      <Table.Td>
        {!readOnly && (
          <Group justify="flex-end">
            <Button
              size="compact-sm"
              variant="subtle"
              color="red"
              aria-label={`Delete group ${group.ssoGroup}`}
              onClick={() => dialog.open("delete")}
            >
              Delete
            </Button>
          </Group>
        )}
        <ConfirmDialog
          title={`Delete group ${group.ssoGroup}?`}
          verb="Delete"
          dangerous
          run={() => remove.mutateAsync()}
          opened={dialog.isOpen("delete")}
          close={dialog.close}
        >
          Its members lose the role {group.role} at their next sign-in.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}

function GroupDialog({ roles, opened, close }: DialogProps & { roles: string[] }) {
  const [ssoGroup, setSsoGroup] = useState("");
  const [role, setRole] = useState<string | null>(null);
  const change = useProjectChange(
    () => webClient.addProjectUserGroup({ ssoGroup: ssoGroup.trim(), role: role ?? "" }),
    () => {
      setSsoGroup("");
      setRole(null);
      close();
    },
  );
  const errors = fieldErrors(change.error, { group: "sso_group", role: "role" });
  return (
    <FormDialog
      title="Add user group"
      verb="Add"
      disabled={!ssoGroup.trim() || !role}
      change={change}
      error={errors.other}
      opened={opened}
      close={close}
    >
      <TextInput
        label="Group"
        required
        description="As the sign-in provider names it, such as org/team."
        value={ssoGroup}
        error={errors.at.group}
        onChange={(event) => setSsoGroup(event.currentTarget.value)}
        data-autofocus
      />
      <Select label="Role" required data={roles} value={role} onChange={setRole} error={errors.at.role} />
    </FormDialog>
  );
}
