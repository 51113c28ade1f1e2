// The agents: who is there, in which version; new ones, their keys, on and off.

import {
  ActionIcon,
  Button,
  Code,
  Group,
  Menu,
  Skeleton,
  Stack,
  Table,
  Text,
  Textarea,
} from "@mantine/core";
import {
  IconArrowUp,
  IconDots,
  IconKey,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlus,
  IconRefresh,
  IconServer,
  IconTrash,
} from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { web } from "../api";
import { useAsk } from "../commands";
import { Confirm, useQuestion } from "../parts/confirm";
import { CopyBlock, CopyText } from "../parts/copy";
import { NameForm } from "../parts/name-form";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Problem } from "../parts/problem";
import { ShownOnce } from "../parts/shown-once";
import { StatusBadge } from "../parts/status";
import tableClasses from "../parts/table.module.css";
import { Ago } from "../parts/time";
import { Upgrade } from "../parts/upgrade";
import { Version } from "../parts/version";
import { key, lastSeenQuery, meQuery, pipedsQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { connectionWord, type Word } from "../words";

interface NewKey {
  pipedId: string;
  name: string;
  text: string;
}

const DISABLED: Word = { text: "Disabled", tone: "quiet" };

export function PipedsPage() {
  const [adding, setAdding] = useState(false);
  const [made, setMade] = useState<NewKey | null>(null);
  const [upgrading, setUpgrading] = useState<string[] | null>(null);
  const pipeds = useQuery(pipedsQuery).data ?? [];
  const enabled = pipeds.filter((piped) => !piped.disabled).map((piped) => piped.id);
  return (
    <Stack gap="lg">
      <PageHead
        title="Pipeds"
        note="A piped is the agent that runs in your own environment, watches Git and deploys from there."
        actions={
          <Group gap="xs">
            {pipeds.length > 0 && (
              <Button
                variant="default"
                leftSection={<IconArrowUp size={16} aria-hidden />}
                onClick={() => setUpgrading(enabled)}
              >
                Upgrade pipeds
              </Button>
            )}
            <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>
              Register a piped
            </Button>
          </Group>
        }
      />
      <List onKey={setMade} onAdd={() => setAdding(true)} onUpgrade={(piped) => setUpgrading([piped.id])} />
      <Upgrade pipeds={pipeds} chosen={upgrading} close={() => setUpgrading(null)} />
      <Register opened={adding} close={() => setAdding(false)} onMade={setMade} />
      <ShowKey made={made} close={() => setMade(null)} />
    </Stack>
  );
}

interface RowProps {
  onKey: (made: NewKey) => void;
  onUpgrade: (piped: Piped) => void;
}

function List({ onAdd, ...does }: RowProps & { onAdd: () => void }) {
  const pipeds = useQuery(pipedsQuery);
  if (pipeds.isPending) return <Skeleton height={220} role="status" aria-label="Loading the pipeds" />;
  if (pipeds.isError && !pipeds.data) {
    return <Problem title="The pipeds could not be loaded" error={pipeds.error} retry={() => pipeds.refetch()} />;
  }
  if (pipeds.data.length === 0) {
    return (
      <NothingHere
        title="No piped is registered"
        icon={<IconServer size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={onAdd}>
            Register a piped
          </Button>
        }
      >
        Nothing can be deployed without one. Register it here, then start it where it can reach what it deploys.
      </NothingHere>
    );
  }
  return (
    <div className="panel" style={{ overflowX: "auto" }}>
      <Table className={tableClasses.table} verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Status</Table.Th>
            <Table.Th>Piped</Table.Th>
            <Table.Th>Version</Table.Th>
            <Table.Th>Repositories</Table.Th>
            <Table.Th>Last seen</Table.Th>
            <Table.Th aria-label="Actions" />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {pipeds.data.map((piped) => (
            <Row key={piped.id} piped={piped} {...does} />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Row({ piped, ...does }: RowProps & { piped: Piped }) {
  return (
    <Table.Tr data-off={piped.disabled || undefined}>
      <Table.Td>
        <StatusBadge word={piped.disabled ? DISABLED : connectionWord(piped.status)} />
      </Table.Td>
      <Table.Td>
        <Text fw={600}>{piped.name}</Text>
        {piped.desc && (
          <Text size="sm" className="faint">
            {piped.desc}
          </Text>
        )}
        <CopyText text={piped.id} what="ID" />
      </Table.Td>
      <Table.Td>
        <Version piped={piped} />
      </Table.Td>
      <Table.Td>
        {piped.repositories.length > 0
          ? piped.repositories.map((repository) => (
              <div key={repository.id} className="mono">
                {repository.id} · {repository.branch}
              </div>
            ))
          : "–"}
      </Table.Td>
      <Table.Td className={tableClasses.when}>
        <LastSeen piped={piped} />
      </Table.Td>
      <Table.Td>
        <Actions piped={piped} {...does} />
      </Table.Td>
    </Table.Tr>
  );
}

function LastSeen({ piped }: { piped: Piped }) {
  const seen = useQuery(lastSeenQuery);
  return (
    <>
      <Ago at={seen.data?.[piped.id] ?? 0n} />
      {piped.startedAt > 0n && (
        <Text size="xs" className="faint">
          started <Ago at={piped.startedAt} />
        </Text>
      )}
    </>
  );
}

type Question = "enable" | "disable" | "key" | "old keys" | "restart";

function Actions({ piped, onKey, onUpgrade }: RowProps & { piped: Piped }) {
  const question = useQuestion<Question>();
  const client = useQueryClient();
  const ask = useAsk();
  const refresh = () => client.invalidateQueries({ queryKey: key.pipeds });
  const target = { pipedId: piped.id };
  const second = piped.keys.length > 1;
  const rotate = async () => {
    const answer = await web.recreatePipedKey({ id: piped.id });
    onKey({ pipedId: piped.id, name: piped.name, text: answer.key });
    await refresh();
  };
  const restart = () =>
    ask({
      send: () => web.restartPiped(target),
      title: `Restart ${piped.name}`,
      done: () => "It restarts now.",
    });
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${piped.name}`}>
            <IconDots size={18} aria-hidden />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {piped.disabled ? (
            <Menu.Item leftSection={<IconPlayerPlay size={16} aria-hidden />} onClick={() => question.ask("enable")}>
              Enable
            </Menu.Item>
          ) : (
            <Menu.Item leftSection={<IconPlayerPause size={16} aria-hidden />} onClick={() => question.ask("disable")}>
              Disable
            </Menu.Item>
          )}
          <Menu.Item
            leftSection={<IconKey size={16} aria-hidden />}
            disabled={second}
            onClick={() => question.ask("key")}
          >
            Add a new key
          </Menu.Item>
          <Menu.Item
            leftSection={<IconTrash size={16} aria-hidden />}
            disabled={!second}
            onClick={() => question.ask("old keys")}
          >
            Delete the old key
          </Menu.Item>
          <Menu.Item leftSection={<IconArrowUp size={16} aria-hidden />} onClick={() => onUpgrade(piped)}>
            Upgrade
          </Menu.Item>
          <Menu.Item
            leftSection={<IconRefresh size={16} aria-hidden />}
            disabled={piped.disabled}
            onClick={() => question.ask("restart")}
          >
            Restart
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Confirm
        title={`Enable ${piped.name}?`}
        verb="Enable"
        act={() => web.enablePiped(target).then(refresh)}
        opened={question.isOpen("enable")}
        close={question.close}
      >
        It may connect again, and goes on with what it finds.
      </Confirm>
      <Confirm
        title={`Disable ${piped.name}?`}
        verb="Disable"
        dangerous
        act={() => web.disablePiped(target).then(refresh)}
        opened={question.isOpen("disable")}
        close={question.close}
      >
        It is refused at once. Nothing is deployed by it until it is enabled again; what runs goes on running.
      </Confirm>
      <Confirm
        title={`A new key for ${piped.name}?`}
        verb="Make a key"
        act={rotate}
        opened={question.isOpen("key")}
        close={question.close}
      >
        Both keys are good until you delete the old one: give the piped the new key, restart it, then delete the old.
      </Confirm>
      <Confirm
        title={`Delete the old key of ${piped.name}?`}
        verb="Delete"
        dangerous
        act={() => web.deleteOldPipedKeys(target).then(refresh)}
        opened={question.isOpen("old keys")}
        close={question.close}
      >
        Only the newest key stays good. A piped that still uses the old one is refused from now on.
      </Confirm>
      <Confirm
        title={`Restart ${piped.name}?`}
        verb="Restart"
        act={restart}
        opened={question.isOpen("restart")}
        close={question.close}
      >
        It ends in an orderly way and is started again by whoever runs it. Deployments under way go on afterwards.
      </Confirm>
    </>
  );
}

interface RegisterProps {
  opened: boolean;
  close: () => void;
  onMade: (made: NewKey) => void;
}

function Register({ opened, close, onMade }: RegisterProps) {
  const client = useQueryClient();
  const [desc, setDesc] = useState("");
  const register = async (name: string) => {
    const answer = await web.registerPiped({ name, desc: desc.trim() });
    onMade({ pipedId: answer.id, name, text: answer.key });
    setDesc("");
    await client.invalidateQueries({ queryKey: key.pipeds });
  };
  return (
    <NameForm
      title="Register a piped"
      hint="Such as the environment it deploys to."
      verb="Register"
      make={register}
      opened={opened}
      close={close}
    >
      <Textarea
        label="Description"
        autosize
        minRows={2}
        value={desc}
        onChange={(event) => setDesc(event.currentTarget.value)}
      />
    </NameForm>
  );
}

function ShowKey({ made, close }: { made: NewKey | null; close: () => void }) {
  const me = useQuery(meQuery);
  if (!made) return null;
  const encoded = btoa(made.text);
  const file = `apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: ${me.data?.projectId ?? ""}
  pipedID: ${made.pipedId}
  pipedKeyData: ${encoded}
  apiAddress: ${window.location.hostname}:9080
  repositories:
    - repoId: config
      remote: https://github.com/your-org/your-repository.git
      branch: main
  platformProviders:
    - name: terraform
      type: TERRAFORM
`;
  return (
    <ShownOnce title={`The key of ${made.name}`} loss="a lost key is replaced by a new one." close={close}>
      <div>
        <Text size="sm" className="faint">
          Piped ID
        </Text>
        <CopyText text={made.pipedId} what="ID" />
      </div>
      <div>
        <Text size="sm" className="faint">
          Key
        </Text>
        <CopyText text={made.text} what="key" />
      </div>
      <div>
        <Text size="sm" mb={4}>
          A configuration to begin with, started by <Code>piped piped --config-file=piped.yaml</Code>:
        </Text>
        <CopyBlock text={file} what="Configuration of the piped" />
      </div>
    </ShownOnce>
  );
}
