// The pipeds of the project: their status, versions and keys.

import { Button, Table, Text, Textarea } from "@mantine/core";
import { IconCircleArrowUp, IconServerBolt } from "../icons";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { webClient } from "../api";
import { useChange } from "../changes";
import { CopyBlock, CopyText } from "../components/copy";
import { CreateDialog } from "../components/create-dialog";
import { KeyExpiry, KeyLifetimeField, lifetimeSeconds } from "../components/key-lifetime";
import { KeyOwnerPage } from "../components/key-owner-page";
import type { OneTimeKey } from "../components/one-time-key-dialog";
import { PipedActions, type PipedActionsProps } from "../components/piped-actions";
import { PipedVersion } from "../components/piped-version";
import { StatusBadge } from "../components/status";
import tableClasses from "../components/table.module.css";
import { RelativeTime } from "../components/time";
import { UpgradeDialog } from "../components/upgrade-dialog";
import { connectionStatusDisplay, type StatusDisplay } from "../display-names";
import { kindName, kindsOf, providersWithoutPlatform } from "../kinds";
import { keyData } from "../features/first-steps/start-commands";
import { StartPiped } from "../features/first-steps/start-piped";
import { key, meQuery, pipedsQuery, presenceQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";

interface PipedKey {
  pipedId: string;
  name: string;
  text: string;
}

const DISABLED: StatusDisplay = { text: "Disabled", tone: "quiet" };
/** Connected, but its event loop is blocked or overloaded; see its log. */
const NOT_RESPONDING = { text: "Not responding", tone: "bad" } as const;

export function PipedsPage() {
  const pipeds = useQuery(pipedsQuery);
  const me = useQuery(meQuery);
  const may = useMay();
  const projectId = me.data?.projectId ?? "";
  /** The IDs selected in the upgrade dialog when it opens; null while it is closed. */
  const [upgrading, setUpgrading] = useState<string[] | null>(null);
  const allPipeds = pipeds.data ?? [];
  const enabledIds = allPipeds.filter((piped) => !piped.disabled).map((piped) => piped.id);
  return (
    <>
      <KeyOwnerPage
        title="Pipeds"
        description="A piped is an agent that runs in your environment, watches Git and deploys applications."
        noun="pipeds"
        query={pipeds}
        columns={["Status", "Piped", "Version", "Platforms", "Repositories", "Last seen"]}
        renderRow={(piped, showKey) => (
          <Row
            key={piped.id}
            piped={piped}
            onKeyCreated={(text) => showKey(additionalKey({ pipedId: piped.id, name: piped.name, text }))}
            onUpgrade={() => setUpgrading([piped.id])}
          />
        )}
        emptyState={{
          title: "No pipeds registered",
          icon: <IconServerBolt size={36} stroke={1.5} />,
          text: "Deployments require a piped. Register one, then start it where it can reach its platforms.",
        }}
        createText="Register piped"
        mayCreate={may(WebService.method.registerPiped)}
        renderCreateDialog={({ opened, close, showKey }) => (
          <RegisterDialog
            opened={opened}
            close={close}
            onRegistered={(pipedKey) => showKey(firstKey(pipedKey, projectId))}
          />
        )}
        actions={
          allPipeds.length > 0 &&
          may(WebService.method.updatePipedDesiredVersion) && (
            <Button
              variant="default"
              leftSection={<IconCircleArrowUp size={16} aria-hidden />}
              onClick={() => setUpgrading(enabledIds)}
            >
              Upgrade pipeds
            </Button>
          )
        }
      />
      <UpgradeDialog pipeds={allPipeds} selectedIds={upgrading} close={() => setUpgrading(null)} />
    </>
  );
}

function Row({ piped, onKeyCreated, onUpgrade }: PipedActionsProps) {
  const notResponding = useQuery(presenceQuery).data?.notResponding.includes(piped.id);
  const connected = notResponding ? NOT_RESPONDING : connectionStatusDisplay(piped.status);
  return (
    <Table.Tr data-disabled={piped.disabled || undefined}>
      <Table.Td>
        <StatusBadge status={piped.disabled ? DISABLED : connected} />
      </Table.Td>
      <Table.Td>
        <Text inherit fw={600} className={tableClasses.long}>
          {piped.name}
        </Text>
        {piped.desc && (
          <Text size="sm" className={`faint ${tableClasses.long ?? ""}`} lineClamp={3} title={piped.desc}>
            {piped.desc}
          </Text>
        )}
        <CopyText text={piped.id} label="ID" />
        {piped.keys.map((pipedKey) =>
          pipedKey.expiresAt === 0n ? null : (
            <Text key={String(pipedKey.createdAt)} size="sm" className="faint">
              Key expires: <KeyExpiry at={pipedKey.expiresAt} />
            </Text>
          ),
        )}
      </Table.Td>
      <Table.Td data-label="Version">
        <PipedVersion piped={piped} />
      </Table.Td>
      <Table.Td data-label="Platforms">
        <div>
          <Platforms piped={piped} />
        </div>
      </Table.Td>
      <Table.Td data-label="Repositories">
        <div>
          {piped.repositories.length > 0
            ? piped.repositories.map((repository) => (
                <div key={repository.id} className={`mono ${tableClasses.long ?? ""}`}>
                  {repository.id} · {repository.branch}
                </div>
              ))
            : "–"}
        </div>
      </Table.Td>
      <Table.Td className={tableClasses.time} data-label="Last seen">
        <div>
          <LastSeen piped={piped} />
        </div>
      </Table.Td>
      <Table.Td>
        <PipedActions piped={piped} onKeyCreated={onKeyCreated} onUpgrade={onUpgrade} />
      </Table.Td>
    </Table.Tr>
  );
}

function Platforms({ piped }: { piped: Piped }) {
  if (piped.plugins.length === 0) return "–";
  return (
    <>
      {kindsOf([piped]).map(kindName).join(", ")}
      {piped.unavailablePlatforms.map(({ kind, requirement }) => (
        <Text key={kind} size="xs" className="faint">
          {kindName(kind)} is not installed{requirement && `: needs ${requirement}`}
        </Text>
      ))}
      {piped.providerNotices.map(({ name, text }) => (
        <Text key={`${name} ${text}`} size="xs" className="faint">
          {name}: {text}
        </Text>
      ))}
      {providersWithoutPlatform(piped).map(({ name, kind }) => (
        <Text key={name} size="sm" c="red">
          {name}: {kindName(kind)} is not installed
        </Text>
      ))}
    </>
  );
}

function LastSeen({ piped }: { piped: Piped }) {
  const presence = useQuery(presenceQuery);
  return (
    <>
      <RelativeTime at={presence.data?.lastSeen[piped.id] ?? 0n} />
      {piped.startedAt > 0n && (
        <Text size="xs" className="faint">
          started <RelativeTime at={piped.startedAt} />
        </Text>
      )}
    </>
  );
}

interface RegisterDialogProps {
  opened: boolean;
  close: () => void;
  onRegistered: (pipedKey: PipedKey) => void;
}

function RegisterDialog({ opened, close, onRegistered }: RegisterDialogProps) {
  const [desc, setDesc] = useState("");
  const [lifetime, setLifetime] = useState("0");
  const register = useChange(
    async (name: string) => {
      const response = await webClient.registerPiped({ name, desc: desc.trim(), keyLifetime: lifetimeSeconds(lifetime) });
      onRegistered({ pipedId: response.id, name, text: response.key });
      setDesc("");
    },
    [key.pipeds],
  );
  return (
    <CreateDialog
      title="Register piped"
      nameHint="For example, the environment it deploys to."
      verb="Register"
      create={register.mutateAsync}
      opened={opened}
      close={close}
    >
      {(errors) => (
        <>
          <Textarea
            label="Description"
            autosize
            minRows={2}
            value={desc}
            onChange={(event) => setDesc(event.currentTarget.value)}
            error={errors.desc}
          />
          <KeyLifetimeField value={lifetime} onChange={setLifetime} error={errors.lifetime} />
        </>
      )}
    </CreateDialog>
  );
}

/** The key of a piped that was registered just now. */
function firstKey({ pipedId, name, text }: PipedKey, projectId: string): OneTimeKey {
  return {
    title: `Key for ${name}`,
    replacement: "If you lose it, add a new key.",
    values: [
      ["Piped ID", pipedId],
      ["Key", text],
    ],
    next: <StartPiped pipedId={pipedId} pipedKey={text} projectId={projectId} />,
  };
}

/** The second key of a piped that has a configuration already. */
function additionalKey({ pipedId, name, text }: PipedKey): OneTimeKey {
  return {
    title: `Key for ${name}`,
    replacement: "If you lose it, delete the old key and add another one.",
    values: [["Key", text]],
    next: (
      <div>
        <Text size="sm" mb={4}>
          Replace the key in the configuration of the piped and restart it. Once it is online, delete the old key.
        </Text>
        <CopyBlock text={`pipedID: ${pipedId}\n${keyData(text)}`} label="Piped configuration" />
      </div>
    ),
  };
}
