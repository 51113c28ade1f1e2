// Keys for programs: pipectl, CI, Terraform.

import { Badge, Button, SegmentedControl, Skeleton, Stack, Table, Text } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { web } from "../api";
import { Confirm, useQuestion } from "../parts/confirm";
import { CopyBlock, CopyText } from "../parts/copy";
import { NameForm } from "../parts/name-form";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Problem } from "../parts/problem";
import { ShownOnce } from "../parts/shown-once";
import tableClasses from "../parts/table.module.css";
import { Ago } from "../parts/time";
import { apiKeysQuery, key } from "../queries";
import { type APIKey, APIKey_Role as Role } from "../schema/model/api_key_pb";

const ROLES = [
  { value: String(Role.READ_ONLY), label: "May read" },
  { value: String(Role.READ_WRITE), label: "May read and write" },
];

export function ApiKeysPage() {
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState("");
  return (
    <Stack gap="lg">
      <PageHead
        title="API keys"
        note="For programs that speak with this control plane: pipectl, CI, Terraform."
        actions={
          <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>
            Make a key
          </Button>
        }
      />
      <List onAdd={() => setAdding(true)} />
      <Make opened={adding} close={() => setAdding(false)} onMade={setMade} />
      {made && (
        <ShownOnce title="The new key" loss="for a lost one, make another." close={() => setMade("")}>
          <CopyText text={made} what="key" />
          <CopyBlock
            what="Command"
            text={`pipectl application list --address=${window.location.hostname}:9080 --api-key-file=key.txt`}
          />
        </ShownOnce>
      )}
    </Stack>
  );
}

function List({ onAdd }: { onAdd: () => void }) {
  const keys = useQuery(apiKeysQuery);
  if (keys.isPending) return <Skeleton height={180} role="status" aria-label="Loading the keys" />;
  if (keys.isError && !keys.data) {
    return <Problem title="The keys could not be loaded" error={keys.error} retry={() => keys.refetch()} />;
  }
  if (keys.data.length === 0) {
    return (
      <NothingHere
        title="There is no key yet"
        icon={<IconKey size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={onAdd}>
            Make a key
          </Button>
        }
      >
        Programs need one to call this control plane. Give each program its own, so that you can take it back.
      </NothingHere>
    );
  }
  return (
    <div className="panel" style={{ overflowX: "auto" }}>
      <Table className={tableClasses.table} verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Right</Table.Th>
            <Table.Th>Made by</Table.Th>
            <Table.Th>Made</Table.Th>
            <Table.Th>Last used</Table.Th>
            <Table.Th aria-label="Actions" />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {keys.data.map((one) => (
            <Row key={one.id} one={one} />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Row({ one }: { one: APIKey }) {
  const question = useQuestion<"disable">();
  const client = useQueryClient();
  return (
    <Table.Tr data-off={one.disabled || undefined}>
      <Table.Td>
        <Text fw={600}>{one.name}</Text>
      </Table.Td>
      <Table.Td>{one.role === Role.READ_WRITE ? "Read and write" : "Read"}</Table.Td>
      <Table.Td>{one.creator}</Table.Td>
      <Table.Td className={tableClasses.when}>
        <Ago at={one.createdAt} />
      </Table.Td>
      <Table.Td className={tableClasses.when}>
        <Ago at={one.lastUsedAt} />
      </Table.Td>
      <Table.Td>
        {one.disabled ? (
          <Badge color="gray" variant="light">
            Disabled
          </Badge>
        ) : (
          <Button size="compact-sm" variant="subtle" color="red" onClick={() => question.ask("disable")}>
            Disable
          </Button>
        )}
        <Confirm
          title={`Disable ${one.name}?`}
          verb="Disable"
          dangerous
          act={() =>
            web.disableAPIKey({ id: one.id }).then(() => client.invalidateQueries({ queryKey: key.apiKeys }))
          }
          opened={question.isOpen("disable")}
          close={question.close}
        >
          Programs that use it are refused from now on. It cannot be enabled again.
        </Confirm>
      </Table.Td>
    </Table.Tr>
  );
}

interface MakeProps {
  opened: boolean;
  close: () => void;
  onMade: (key: string) => void;
}

function Make({ opened, close, onMade }: MakeProps) {
  const client = useQueryClient();
  const [role, setRole] = useState(String(Role.READ_ONLY));
  const make = async (name: string) => {
    onMade((await web.generateAPIKey({ name, role: Number(role) })).key);
    await client.invalidateQueries({ queryKey: key.apiKeys });
  };
  return (
    <NameForm
      title="Make a key"
      hint="The program that will use it."
      verb="Make"
      make={make}
      opened={opened}
      close={close}
    >
      <SegmentedControl aria-label="What it may do" data={ROLES} value={role} onChange={setRole} />
    </NameForm>
  );
}
