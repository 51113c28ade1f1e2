// After a piped is registered: its configuration, the command that starts it, and whether it has connected.

import { Alert, Anchor, Group, NativeSelect, Skeleton, Stack, Tabs, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Link } from "react-router";

import { CopyBlock } from "../../components/copy";
import { ErrorAlert } from "../../components/error-alert";
import { StatusBadge } from "../../components/status";
import { connectionStatusDisplay } from "../../display-names";
import { kindName } from "../../kinds";
import { type Endpoint, endpointQuery, pipedsQuery, suggestionsQuery } from "../../queries";
import { Piped_ConnectionStatus } from "../../schema/model/piped_pb";
import { WebService } from "../../schema/web/service_pb";
import { useMay } from "../../use-may";
import { isLoopback, type PipedSettings, pipedConfiguration, places, type Platform, PLATFORMS } from "./start-commands";

type StartPipedProps = Pick<PipedSettings, "pipedId" | "pipedKey" | "projectId">;

export function StartPiped(piped: StartPipedProps) {
  const endpoint = useQuery(endpointQuery);
  if (endpoint.isError) {
    return <ErrorAlert title="The commands could not be loaded" error={endpoint.error} retry={() => endpoint.refetch()} />;
  }
  if (!endpoint.data) return <Skeleton height={320} role="status" aria-label="Loading" />;
  return <Steps endpoint={endpoint.data} piped={piped} />;
}

function Steps({ piped, endpoint }: { piped: StartPipedProps; endpoint: Endpoint }) {
  const [platform, setPlatform] = useState<Platform>(PLATFORMS[0]);
  const [repository, setRepository] = useState("");
  const [branch, setBranch] = useState("main");
  return (
    <Stack gap="md">
      <Step title="1. Say what it deploys, and store this as piped.yaml">
        <NativeSelect
          label="Platform"
          data={PLATFORMS.map(({ kind }) => ({ value: kind, label: kindName(kind) }))}
          value={platform.kind}
          onChange={(event) => setPlatform(PLATFORMS.find(({ kind }) => kind === event.currentTarget.value) ?? PLATFORMS[0])}
        />
        <TextInput
          label="Git repository"
          description="HTTPS or SSH. A private one needs credentials: add the key git."
          placeholder="https://github.com/your-org/your-repository.git"
          value={repository}
          onChange={(event) => setRepository(event.currentTarget.value)}
        />
        <TextInput
          label="Branch"
          description="Its commits are deployed."
          value={branch}
          onChange={(event) => setBranch(event.currentTarget.value)}
        />
        <CopyBlock
          text={pipedConfiguration({ ...piped, platform, repository, branch }, endpoint)}
          label="Piped configuration"
        />
      </Step>
      <Step title="2. Start the piped where it can reach Git and your platform. Nothing connects to it.">
        <StartCommands platform={platform} endpoint={endpoint} />
      </Step>
      <Step title="3. See it connect">
        <ConnectionState pipedId={piped.pipedId} />
      </Step>
    </Stack>
  );
}

function Step({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600}>
        {title}
      </Text>
      {children}
    </Stack>
  );
}

function StartCommands({ platform, endpoint }: { platform: Platform; endpoint: Endpoint }) {
  const all = places(platform, endpoint);
  const [place, setPlace] = useState<string | null>(all[0]?.name ?? null);
  return (
    <Tabs value={place} onChange={setPlace} keepMounted={false}>
      <Tabs.List aria-label="Where the piped runs">
        {all.map(({ name }) => (
          <Tabs.Tab key={name} value={name}>
            {name}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {all.map(({ name, needs, commands }, index) => (
        <Tabs.Panel key={name} value={name} pt="xs">
          {index > 0 && isLoopback(endpoint) && (
            <Alert color="yellow" variant="light" py="xs" mb="xs">
              {endpoint.host} is reached from this machine only. Put the control plane’s address for other machines into
              its configuration: <span className="mono">spec.apiURL</span>.
            </Alert>
          )}
          <Text size="sm" className="faint" mb={4}>
            {needs}
          </Text>
          <CopyBlock text={commands} label={`Commands for ${name}`} />
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}

const NOT_CONNECTED = { text: "Not connected yet", tone: "waiting" } as const;

/** Follows the piped until it is online, and what it has found in Git. */
function ConnectionState({ pipedId }: { pipedId: string }) {
  const pipeds = useQuery(pipedsQuery);
  const suggestions = useQuery(suggestionsQuery);
  const may = useMay();
  const status = pipeds.data?.find(({ id }) => id === pipedId)?.status;
  if (status !== Piped_ConnectionStatus.ONLINE) {
    return (
      <Group gap="xs" role="status">
        <StatusBadge status={NOT_CONNECTED} />
        <Text size="sm">This changes by itself. If it does not, the output of the piped says what is wrong.</Text>
      </Group>
    );
  }
  const count = suggestions.data?.suggestions.filter(({ application }) => application?.pipedId === pipedId).length ?? 0;
  return (
    <Group gap="xs" role="status">
      <StatusBadge status={connectionStatusDisplay(status)} />
      <Text size="sm">
        {count === 0
          ? "No application files found in Git yet. "
          : `${count === 1 ? "1 application" : `${count} applications`} found in Git. `}
        {may(WebService.method.addApplication) && (
          <Anchor component={Link} to="/applications/add" inherit>
            Add application
          </Anchor>
        )}
      </Text>
    </Group>
  );
}
