// Adds or changes a receiver of the project. Secrets are never shown: an empty field leaves the stored one as it is.

import { create } from "@bufbuild/protobuf";
import { MultiSelect, NativeSelect, SegmentedControl, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { consoleClient } from "../../api";
import { useChange } from "../../changes";
import { FormDialog } from "../../components/form-dialog";
import { fieldErrors, InvalidField } from "../../field-errors";
import { pipedsQuery, projectReceiversQuery } from "../../queries";
import type { Piped } from "../../schema/model/piped_pb";
import {
  EmailReceiverSchema,
  type ProjectReceiver,
  ProjectReceiverSchema,
  SlackReceiverSchema,
  WebhookReceiverSchema,
} from "../../schema/pipecd/v1/notifications_pb";

type Type = "slack" | "webhook" | "email";

interface ReceiverFormProps {
  /** The one to change; without it, one is added. */
  receiver?: ProjectReceiver;
  close: () => void;
}

export function ReceiverForm({ receiver, close }: ReceiverFormProps) {
  const [type, setType] = useState<Type>(receiver?.email ? "email" : receiver?.webhook ? "webhook" : "slack");
  const [name, setName] = useState(receiver?.name ?? "");
  const [events, setEvents] = useState(receiver?.events.length === 1 ? receiver.events[0] : "");
  const [pipedIds, setPipedIds] = useState(receiver?.pipedIds ?? []);
  const pipeds = useQuery(pipedsQuery).data ?? [];
  const fields = useFields(receiver);
  const change = useChange(
    async (): Promise<unknown> => {
      const changed = toReceiver(name, type, fields.values);
      changed.events = events ? [events] : [];
      changed.pipedIds = pipedIds;
      return receiver
        ? consoleClient.updateProjectReceiver({ receiver: changed })
        : consoleClient.addProjectReceiver({ receiver: changed });
    },
    [projectReceiversQuery.queryKey],
    close,
  );
  const stored = receiver !== undefined && Boolean(receiver[type]);
  const errors = fieldErrors<string>(change.error, {
    name: "receiver.name",
    events: "receiver.events",
    pipedIds: "receiver.piped_ids",
    ...PATHS[type],
  });
  const form: Form = {
    values: fields.values,
    input: (field) => ({ ...fields.input(field), error: errors.at[field] }),
  };
  return (
    <FormDialog
      title={receiver ? `Receiver ${receiver.name}` : "Add receiver"}
      verb={receiver ? "Save" : "Add"}
      disabled={!name.trim() || !isComplete(type, form.values, stored)}
      change={change}
      error={errors.other}
      opened
      close={close}
    >
      <TextInput
        label="Name"
        required
        readOnly={receiver !== undefined}
        value={name}
        error={errors.at["name"]}
        onChange={(event) => setName(event.currentTarget.value)}
        data-autofocus={receiver === undefined || undefined}
      />
      <SegmentedControl
        aria-label="Type"
        value={type}
        onChange={(value) => setType(value)}
        data={[
          { value: "slack", label: "Slack" },
          { value: "webhook", label: "Webhook" },
          { value: "email", label: "E-mail" },
        ]}
      />
      {type === "slack" && <SlackFields form={form} stored={stored} />}
      {type === "webhook" && <WebhookFields form={form} stored={stored} />}
      {type === "email" && <EmailFields form={form} stored={stored} />}
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <NativeSelect
          label="Events"
          value={events}
          error={errors.at["events"]}
          onChange={(event) => setEvents(event.currentTarget.value)}
          data={[
            { value: "", label: "Offline, and online again" },
            { value: "PIPED_OFFLINE", label: "Offline only" },
            { value: "PIPED_ONLINE", label: "Online again only" },
          ]}
        />
        <MultiSelect
          label="Pipeds"
          placeholder={pipedIds.length > 0 ? undefined : "All"}
          value={pipedIds}
          error={errors.at["pipedIds"]}
          onChange={setPipedIds}
          data={pipedOptions(pipeds, pipedIds)}
          hidePickedOptions
        />
      </SimpleGrid>
      <Text size="xs" className="faint">
        {stored && "Fields of secrets are empty: what you enter replaces the stored one. "}
        Addresses have to be on the internet, or in a network that the operator of the control plane allows.
      </Text>
    </FormDialog>
  );
}

/** With those that are selected, but that the user may not see. */
function pipedOptions(pipeds: Piped[], selected: string[]) {
  const known = new Set(pipeds.map(({ id }) => id));
  return [
    ...pipeds.filter(({ id, disabled }) => !disabled || selected.includes(id)).map(({ id, name }) => ({ value: id, label: name })),
    ...selected.filter((id) => !known.has(id)).map((id) => ({ value: id, label: id })),
  ];
}

const EMPTY = {
  hookUrl: "",
  token: "",
  channel: "",
  users: "",
  groups: "",
  url: "",
  signingKey: "",
  format: "pipecd",
  host: "",
  port: "",
  security: "starttls",
  username: "",
  password: "",
  from: "",
  to: "",
};
type Fields = typeof EMPTY;
/** Header and value of PipeCD's signature: the form does not have them, and leaves them as they are. */
type Values = Fields & { signatureKey: string };

/** Where the schema has the fields of each type. */
const PATHS: Record<Type, Record<string, string>> = {
  slack: {
    hookUrl: "receiver.slack.hook_url",
    token: "receiver.slack.oauth_token",
    channel: "receiver.slack.channel_id",
    users: "receiver.slack.mentioned_accounts",
    groups: "receiver.slack.mentioned_groups",
  },
  webhook: {
    url: "receiver.webhook.url",
    signingKey: "receiver.webhook.signing_key",
    format: "receiver.webhook.format",
  },
  email: {
    host: "receiver.email.host",
    port: "receiver.email.port",
    security: "receiver.email.security",
    username: "receiver.email.username",
    password: "receiver.email.password",
    from: "receiver.email.from",
    to: "receiver.email.to",
  },
};

interface Input {
  value: string;
  onChange: (event: { currentTarget: { value: string } }) => void;
}

interface Form {
  values: Values;
  /** The properties of the input of a field. */
  input: (name: keyof Fields) => Input & { error: string | undefined };
}

function useFields(receiver: ProjectReceiver | undefined): { values: Values; input: (name: keyof Fields) => Input } {
  const [values, setValues] = useState<Values>(() => ({
    ...EMPTY,
    signatureKey: receiver?.webhook?.signatureKey ?? "",
    channel: receiver?.slack?.channelId ?? "",
    users: receiver?.slack?.mentionedAccounts.join(" ") ?? "",
    groups: receiver?.slack?.mentionedGroups.join(" ") ?? "",
    format: receiver?.webhook?.format || "pipecd",
    host: receiver?.email?.host ?? "",
    port: receiver?.email?.port ? String(receiver.email.port) : "",
    security: receiver?.email?.security || "starttls",
    username: receiver?.email?.username ?? "",
    from: receiver?.email?.from ?? "",
    to: receiver?.email?.to.join(", ") ?? "",
  }));
  return {
    values,
    input: (name) => ({
      value: values[name],
      onChange: (event) => {
        const { value } = event.currentTarget;
        setValues((before) => ({ ...before, [name]: value }));
      },
    }),
  };
}

/** Whether what is required is there; `stored` says that secrets are. The control plane checks the rest. */
function isComplete(type: Type, values: Fields, stored: boolean): boolean {
  if (type === "slack") return stored || Boolean(values.hookUrl || (values.token && values.channel));
  if (type === "webhook") return stored || Boolean(values.url);
  return Boolean(values.host && values.from && values.to);
}

function toReceiver(name: string, type: Type, values: Values): ProjectReceiver {
  const receiver = create(ProjectReceiverSchema, { name: name.trim() });
  if (type === "slack") {
    receiver.slack = create(SlackReceiverSchema, {
      hookUrl: values.hookUrl.trim(),
      oauthToken: values.token.trim(),
      channelId: values.channel.trim(),
      mentionedAccounts: split(values.users),
      mentionedGroups: split(values.groups),
    });
  } else if (type === "webhook") {
    receiver.webhook = create(WebhookReceiverSchema, {
      url: values.url.trim(),
      signatureKey: values.signatureKey,
      signingKey: values.signingKey.trim(),
      format: values.format,
    });
  } else {
    receiver.email = create(EmailReceiverSchema, {
      host: values.host.trim(),
      port: portNumber(values.port.trim()),
      security: values.security,
      username: values.username.trim(),
      password: values.password,
      from: values.from.trim(),
      to: values.to.split(",").map((text) => text.trim()).filter(Boolean),
    });
  }
  return receiver;
}

/** 0 stands for the usual port. */
function portNumber(text: string): number {
  if (!/^\d{0,9}$/.test(text)) throw new InvalidField("receiver.email.port", "Not a number. Write one from 1 to 65535, or nothing.");
  return Number(text);
}

function split(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

interface FieldsProps {
  form: Form;
  stored: boolean;
}

const STORED = "Stored; it is not shown";

function SlackFields({ form, stored }: FieldsProps) {
  return (
    <>
      <TextInput
        label="URL of an incoming webhook"
        type="url"
        placeholder={stored && !form.values.channel ? STORED : "https://hooks.slack.com/services/…"}
        {...form.input("hookUrl")}
      />
      <Text size="sm" className="faint">
        Or a bot token with the scope <span className="mono">chat:write</span>, and a channel:
      </Text>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <TextInput
          label="Bot token"
          type="password"
          autoComplete="off"
          placeholder={stored && form.values.channel ? STORED : "xoxb-…"}
          {...form.input("token")}
        />
        <TextInput label="Channel ID" placeholder="C0123456789" {...form.input("channel")} />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <TextInput label="Mentioned members" description="Their IDs." placeholder="U0123456789" {...form.input("users")} />
        <TextInput label="Mentioned groups" description="Their IDs." placeholder="S0123456789" {...form.input("groups")} />
      </SimpleGrid>
    </>
  );
}

function WebhookFields({ form, stored }: FieldsProps) {
  return (
    <>
      <TextInput
        label="URL"
        type="url"
        required={!stored}
        placeholder={stored ? STORED : "https://"}
        {...form.input("url")}
      />
      <TextInput
        label="Signing key"
        type="password"
        autoComplete="off"
        description="Signs requests as Standard Webhooks specifies: whsec_ and 24 to 64 bytes in base64. Optional."
        placeholder={stored ? "Stored, if there is one; it is not shown" : "whsec_…"}
        {...form.input("signingKey")}
      />
      <NativeSelect
        label="Format"
        data={[
          { value: "pipecd", label: "PipeCD's JSON" },
          { value: "cloudevents", label: "CloudEvents 1.0" },
        ]}
        {...form.input("format")}
      />
    </>
  );
}

function EmailFields({ form, stored }: FieldsProps) {
  return (
    <Stack gap="sm">
      <TextInput label="SMTP server" required placeholder="smtp.example.com" {...form.input("host")} />
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <NativeSelect
          label="Encryption"
          data={[
            { value: "starttls", label: "STARTTLS (port 587)" },
            { value: "tls", label: "TLS (port 465)" },
            { value: "none", label: "None (port 25)" },
          ]}
          {...form.input("security")}
        />
        <TextInput label="Port" inputMode="numeric" placeholder="As usual" {...form.input("port")} />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="md">
        <TextInput label="User name" autoComplete="off" {...form.input("username")} />
        <TextInput
          label="Password"
          type="password"
          autoComplete="new-password"
          placeholder={stored ? "Stored, if there is one" : undefined}
          {...form.input("password")}
        />
      </SimpleGrid>
      <TextInput label="From" required placeholder="PipeCD <pipecd@example.com>" {...form.input("from")} />
      <TextInput label="To" required description="Separated by commas." {...form.input("to")} />
    </Stack>
  );
}
