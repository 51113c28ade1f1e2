// The API keys of the project: for pipectl, CI and Terraform.

import { Badge, Button, Input, SegmentedControl, Table, Text } from "@mantine/core";
import { IconKey } from "../icons";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { webClient } from "../api";
import { useChange } from "../changes";
import { ConfirmDialog, useDialog } from "../components/confirm-dialog";
import { CreateDialog } from "../components/create-dialog";
import { DEFAULT_LIFETIME, KeyExpiry, KeyLifetimeField, lifetimeSeconds } from "../components/key-lifetime";
import { KeyOwnerPage } from "../components/key-owner-page";
import type { OneTimeKey } from "../components/one-time-key-dialog";
import tableClasses from "../components/table.module.css";
import { RelativeTime } from "../components/time";
import { PipectlCommand } from "../features/first-steps/pipectl-command";
import { apiKeysQuery, key } from "../queries";
import { type APIKey, APIKey_Role as Role } from "../schema/model/api_key_pb";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";

const READ_ONLY = "Read-only";
const READ_WRITE = "Read and write";
const ADMIN = "Admin";
const ROLE_OPTIONS = [
  { value: String(Role.READ_ONLY), label: READ_ONLY },
  { value: String(Role.READ_WRITE), label: READ_WRITE },
  { value: String(Role.ADMIN), label: ADMIN },
];

export function ApiKeysPage() {
  const apiKeys = useQuery(apiKeysQuery);
  const may = useMay();
  return (
    <KeyOwnerPage
      title="API keys"
      description="API keys authenticate programs that call this control plane: pipectl, CI, Terraform."
      noun="API keys"
      query={apiKeys}
      columns={["Name", "Role", "Created by", "Created", "Last used", "Expires"]}
      renderRow={(apiKey) => <Row key={apiKey.id} apiKey={apiKey} />}
      emptyState={{
        title: "No API keys yet",
        icon: <IconKey size={36} stroke={1.5} />,
        text: "Programs need an API key to call this control plane. Create a separate key for each program.",
      }}
      createText="Create key"
      mayCreate={may(WebService.method.generateAPIKey)}
      renderCreateDialog={({ opened, close, showKey }) => (
        <CreateApiKeyDialog opened={opened} close={close} onCreated={(text) => showKey(oneTimeKey(text))} />
      )}
    />
  );
}

function oneTimeKey(text: string): OneTimeKey {
  return {
    title: "New API key",
    replacement: "If you lose it, create another key.",
    values: [["Key", text]],
    next: (
      <div>
        <Text size="sm" mb={4}>
          Example, with the key stored in key.txt:
        </Text>
        <PipectlCommand command="application list" options="--api-key-file=key.txt" label="Command" />
      </div>
    ),
  };
}

function roleName(role: Role): string {
  return ROLE_OPTIONS.find(({ value }) => value === String(role))?.label ?? READ_ONLY;
}

function Row({ apiKey }: { apiKey: APIKey }) {
  const dialog = useDialog<"disable">();
  const disable = useChange(() => webClient.disableAPIKey({ id: apiKey.id }), [key.apiKeys]);
  const may = useMay();
  return (
    <Table.Tr data-disabled={apiKey.disabled || undefined}>
      <Table.Td>
        <Text inherit fw={600} className={tableClasses.long}>
          {apiKey.name}
        </Text>
      </Table.Td>
      <Table.Td data-label="Role">{roleName(apiKey.role)}</Table.Td>
      <Table.Td data-label="Created by" className={tableClasses.long}>
        {apiKey.creator}
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Created">
        <RelativeTime at={apiKey.createdAt} />
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Last used">
        <RelativeTime at={apiKey.lastUsedAt} />
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Expires">
        <KeyExpiry at={apiKey.expiresAt} />
      </Table.Td>
      <Table.Td>
        {apiKey.disabled ? (
          <Badge color="gray" variant="light">
            Disabled
          </Badge>
        ) : (
          may(WebService.method.disableAPIKey) && (
            <Button size="compact-sm" variant="subtle" color="red" onClick={() => dialog.open("disable")}>
              Disable
            </Button>
          )
        )}
        <ConfirmDialog
          title={`Disable ${apiKey.name}?`}
          verb="Disable"
          dangerous
          run={() => disable.mutateAsync()}
          opened={dialog.isOpen("disable")}
          close={dialog.close}
        >
          Requests with this key are rejected immediately. A disabled key cannot be enabled again.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}

interface CreateApiKeyDialogProps {
  opened: boolean;
  close: () => void;
  onCreated: (text: string) => void;
}

function CreateApiKeyDialog({ opened, close, onCreated }: CreateApiKeyDialogProps) {
  const [role, setRole] = useState(String(Role.READ_ONLY));
  const [lifetime, setLifetime] = useState(DEFAULT_LIFETIME);
  const create = useChange(
    async (name: string) => {
      const request = { name, role: Number(role), keyLifetime: lifetimeSeconds(lifetime) };
      onCreated((await webClient.generateAPIKey(request)).key);
    },
    [key.apiKeys],
  );
  return (
    <CreateDialog
      title="Create API key"
      nameHint="For example, the program that will use the key."
      verb="Create"
      create={create.mutateAsync}
      opened={opened}
      close={close}
    >
      {(errors) => (
        <>
          <Input.Wrapper label="Role" labelElement="div" error={errors.role}>
            <SegmentedControl fullWidth aria-label="Role" data={ROLE_OPTIONS} value={role} onChange={setRole} />
          </Input.Wrapper>
          <KeyLifetimeField value={lifetime} onChange={setLifetime} error={errors.lifetime} />
        </>
      )}
    </CreateDialog>
  );
}
