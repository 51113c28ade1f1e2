// Single sign-on of the project: which provider authenticates its users, and a dialog that sets it up.

import {
  Alert,
  Button,
  Collapse,
  Group,
  NativeSelect,
  NumberInput,
  PasswordInput,
  Stack,
  Switch,
  Text,
  TextInput,
} from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";

import { consoleClient, webClient } from "../../api";
import { useProjectChange } from "../../changes";
import { ConfirmDialog, useDialog } from "../../components/confirm-dialog";
import { CopyBlock } from "../../components/copy";
import { DetailList } from "../../components/detail-list";
import { type DialogProps, FormDialog, Problem } from "../../components/form-dialog";
import { Section } from "../../components/section";
import { fieldErrors } from "../../field-errors";
import type { Project } from "../../schema/model/project_pb";
import type { SeeProjectResponse } from "../../schema/pipecd/v1/console_pb";
import { asSentence } from "../../sentence";
import { configOf, fieldsOf, isComplete, keepsClient, pathsOf, type ProviderKind, type SsoFields } from "./sso-form";

interface SsoSectionProps {
  settings: SeeProjectResponse;
  project: Project;
}

/** `readOnly`: the project or the user's roles do not allow a change. */
export function SsoSection({ settings, project, readOnly }: SsoSectionProps & { readOnly: boolean }) {
  const dialog = useDialog<"edit" | "remove">();
  const remove = useProjectChange(() => consoleClient.removeSSO({}));
  const stray = useProjectChange((allowStrayAsViewer: boolean) =>
    consoleClient.updateProject({ description: project.desc, allowStrayAsViewer }),
  );
  const { ssoTitle } = settings;
  const shared = project.sharedSsoName;
  const changeable = !readOnly && !shared;
  const oidc = project.sso?.oidc;
  return (
    <Section
      title="Single sign-on"
      aside={
        changeable && (
          <Group gap="xs">
            {project.sso && (
              <Button variant="subtle" color="red" size="compact-sm" onClick={() => dialog.open("remove")}>
                Remove
              </Button>
            )}
            <Button variant="default" size="compact-sm" onClick={() => dialog.open("edit")}>
              {project.sso ? "Change provider" : "Set up"}
            </Button>
          </Group>
        )
      }
    >
      <Stack gap="sm">
        <Text size="sm">
          {ssoTitle || project.sso || shared
            ? "Users sign in at the provider. Their groups there give them roles."
            : readOnly
              ? "No provider is configured: only the static admin can sign in."
              : "Users can sign in with an account of GitHub, GitHub Enterprise Server or an OpenID Connect provider."}
        </Text>
        <DetailList
          items={[
            ["Provider", ssoTitle],
            ["Issuer", oidc?.issuer],
            ["Shared configuration", shared && `${shared}, in the control plane’s configuration file`],
            ["Claim with groups", oidc?.rolesClaimKey],
            ["Sessions last", project.sso && project.sso.sessionTtl > 0n && `${project.sso.sessionTtl} hours`],
          ]}
        />
        {(project.sso || shared) && !ssoTitle && (
          <Alert color="red" role="alert">
            The configuration cannot be used: see the log of the control plane.
          </Alert>
        )}
        {(ssoTitle || !readOnly) && (
          <Switch
            label="Users without a group that has a role are viewers"
            checked={stray.isPending ? stray.variables : project.allowStrayAsViewer}
            disabled={readOnly}
            onChange={(event) => stray.mutate(event.currentTarget.checked)}
          />
        )}
        <Problem error={stray.error} />
      </Stack>
      <SsoDialog settings={settings} project={project} opened={dialog.isOpen("edit")} close={dialog.close} />
      <ConfirmDialog
        title="Remove single sign-on?"
        verb="Remove"
        dangerous
        run={() => remove.mutateAsync()}
        opened={dialog.isOpen("remove")}
        close={dialog.close}
      >
        Users of {ssoTitle || "the provider"} can no longer sign in, and their sessions end at once, this one too if it is theirs.
        {project.staticAdminDisabled && " The static admin is disabled: no user could sign in any more."}
      </ConfirmDialog>
    </Section>
  );
}

const KINDS: { value: ProviderKind; label: string }[] = [
  { value: "oidc", label: "OpenID Connect" },
  { value: "github", label: "GitHub" },
  { value: "enterprise", label: "GitHub Enterprise Server" },
];

function SsoDialog({ settings, project, opened, close }: SsoSectionProps & DialogProps) {
  const stored = project.sso;
  const [fields, setFields] = useState(() => fieldsOf(stored));
  const [more, setMore] = useState(false);
  const set = (change: Partial<SsoFields>) => {
    setFields({ ...fields, ...change });
    verify.reset();
  };
  const verify = useMutation({ mutationFn: () => consoleClient.verifySSO({ sso: configOf(fields, stored) }) });
  const save = useProjectChange(
    () => webClient.updateProjectSSOConfig({ sso: configOf(fields, stored) }),
    () => {
      setFields({ ...fields, clientId: "", clientSecret: "" });
      verify.reset();
      close();
    },
  );
  const keeps = keepsClient(fields, stored);
  const complete = isComplete(fields, stored);
  const errors = fieldErrors(save.error ?? verify.error, pathsOf(fields.kind));
  const text = (name: keyof SsoFields & ("clientId" | "url" | "rolesClaim" | "usernameClaim" | "scopes" | "proxyUrl")) => ({
    value: fields[name],
    error: errors.at[name],
    onChange: (event: { currentTarget: { value: string } }) => set({ [name]: event.currentTarget.value }),
  });
  return (
    <FormDialog
      title="Single sign-on"
      verb="Save"
      disabled={!complete}
      change={save}
      error={errors.other}
      opened={opened}
      close={close}
    >
      <NativeSelect
        label="Provider"
        data={KINDS}
        value={fields.kind}
        onChange={(event) => set({ kind: event.currentTarget.value as ProviderKind })}
      />
      <div>
        <Text size="sm" fw={500}>
          Redirect URL
        </Text>
        <Text size="xs" className="faint" mb={6}>
          {settings.ssoCallbackUrl
            ? "Register the console with this URL at the provider, which then shows a client id and a secret."
            : "Set `address` in the control plane’s configuration first: the provider sends users back to it."}
        </Text>
        {settings.ssoCallbackUrl && <CopyBlock label="Redirect URL" text={settings.ssoCallbackUrl} />}
      </div>
      {fields.kind !== "github" && (
        <TextInput
          label={fields.kind === "oidc" ? "Issuer" : "URL of GitHub Enterprise Server"}
          description={
            fields.kind === "oidc"
              ? "URL below which /.well-known/openid-configuration is found."
              : "Such as https://github.example.com"
          }
          type="url"
          required
          {...text("url")}
        />
      )}
      <TextInput
        label="Client ID"
        required={!keeps}
        autoComplete="off"
        placeholder={keeps ? "Stored; leave empty to keep it" : undefined}
        {...text("clientId")}
      />
      <PasswordInput
        label="Client secret"
        description="It is encrypted, and cannot be read again."
        required={!keeps}
        autoComplete="off"
        placeholder={keeps ? "Stored; leave empty to keep it" : undefined}
        visibilityToggleButtonProps={{ "aria-label": "Show the secret" }}
        value={fields.clientSecret}
        error={errors.at.clientSecret}
        onChange={(event) => set({ clientSecret: event.currentTarget.value })}
      />
      <div>
        <Button variant="subtle" size="compact-sm" aria-expanded={more} onClick={() => setMore(!more)}>
          {more ? "Fewer options" : "More options"}
        </Button>
        <Collapse expanded={more}>
          <Stack gap="md" mt="sm">
            {fields.kind === "oidc" && (
              <>
                <TextInput
                  label="Claim with groups"
                  description="By default the first of groups, roles, cognito:groups, custom:roles and custom:groups; a path with dots is possible."
                  {...text("rolesClaim")}
                />
                <TextInput
                  label="Claim with the user name"
                  description="By default the first of username, preferred_username, name and cognito:username."
                  {...text("usernameClaim")}
                />
                <TextInput
                  label="Scopes"
                  description="Separated by spaces. By default openid and profile."
                  {...text("scopes")}
                />
              </>
            )}
            <NumberInput
              label="Hours that a session lasts"
              description="By default as long as the control plane’s configuration says."
              min={0}
              max={720}
              allowDecimal={false}
              value={fields.sessionHours}
              error={errors.at.sessionHours}
              onChange={(value) => set({ sessionHours: typeof value === "number" ? value : "" })}
            />
            <TextInput label="URL of an HTTP proxy" {...text("proxyUrl")} />
          </Stack>
        </Collapse>
      </div>
      <Group gap="sm">
        <Button variant="default" loading={verify.isPending} disabled={!complete} onClick={() => verify.mutate()}>
          Test
        </Button>
        <Text size="sm" className="faint">
          Asks the provider whether it accepts the client. Nothing is stored.
        </Text>
      </Group>
      {verify.data && (
        <Alert color={verify.data.problem ? "red" : "green"} role="status">
          {verify.data.problem
            ? asSentence(verify.data.problem)
            : "The provider responds and accepts the client. Users still need a group that has a role."}
        </Alert>
      )}
    </FormDialog>
  );
}
