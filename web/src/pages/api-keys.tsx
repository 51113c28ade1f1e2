// Keys for programs: pipectl, CI, Terraform.

import { Alert, Badge, Button, Group, Modal, SegmentedControl, Skeleton, Stack, Table, Text, TextInput } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { sentence, web } from "../api";
import { Confirm, useQuestion } from "../parts/confirm";
import { CopyBlock, CopyText } from "../parts/copy";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Problem } from "../parts/problem";
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
      <Modal
        opened={made !== ""}
        onClose={() => setMade("")}
        title="The new key"
        size="lg"
        closeOnClickOutside={false}
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <Stack gap="md">
          <Alert color="orange" variant="light" title="It is shown this once">
            Only its hash is stored. Copy it now to a safe place.
          </Alert>
          <CopyText text={made} what="key" />
          <CopyBlock
            what="Command"
            text={`pipectl application list --address=${window.location.hostname}:9080 --api-key-file=key.txt`}
          />
          <Group justify="flex-end">
            <Button onClick={() => setMade("")}>I have copied it</Button>
          </Group>
        </Stack>
      </Modal>
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
  const [name, setName] = useState("");
  const [role, setRole] = useState(String(Role.READ_ONLY));
  const making = useMutation({
    mutationFn: () => web.generateAPIKey({ name: name.trim(), role: Number(role) }),
    onSuccess: async (answer) => {
      onMade(answer.key);
      setName("");
      close();
      await client.invalidateQueries({ queryKey: key.apiKeys });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    making.mutate();
  };
  return (
    <Modal opened={opened} onClose={close} title="Make a key" closeButtonProps={{ "aria-label": "Close" }}>
      <form onSubmit={submit}>
        <Stack gap="md">
          <TextInput
            label="Name"
            description="The program that will use it."
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
          />
          <SegmentedControl aria-label="What it may do" data={ROLES} value={role} onChange={setRole} />
          {making.isError && (
            <Alert color="red" role="alert">
              {sentence(making.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button type="submit" loading={making.isPending} disabled={!name.trim()}>
              Make
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
