// What runs of an application right now, thing by thing, with its health.

import { Group, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { type Branch, healthWord, type Resource, resourcesOf, treeOf } from "../live-state";
import { liveStateQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import classes from "./live-state.module.css";
import { Problem } from "./problem";
import { Section } from "./section";
import { StatusBadge, StatusIcon } from "./status";
import { Ago } from "./time";

export function LiveState({ application }: { application: Application }) {
  const found = useQuery(liveStateQuery(application.id));
  if (found.data === null) return null;
  const branches = found.data ? treeOf(resourcesOf(found.data)) : [];
  return (
    <Section title="Live state" beside={found.data && <StatusBadge word={healthWord(found.data.healthStatus)} />}>
      {found.isPending && <Skeleton height={80} />}
      {found.isError && !found.data && <Problem title="The live state could not be loaded" error={found.error} />}
      {found.data && branches.length === 0 && (
        <Text size="sm" className="faint">
          Nothing runs of this application.
        </Text>
      )}
      {branches.length > 0 && <Branches branches={branches} name="Resources" />}
    </Section>
  );
}

function Branches({ branches, name }: { branches: Branch[]; name: string }) {
  return (
    <ul className={classes.tree} aria-label={name}>
      {branches.map(({ resource, below }) => (
        <li key={resource.id}>
          <Line resource={resource} />
          {below.length > 0 && <Branches branches={below} name={`Below ${resource.name}`} />}
        </li>
      ))}
    </ul>
  );
}

function Line({ resource }: { resource: Resource }) {
  return (
    <div className={classes.line}>
      <StatusIcon word={healthWord(resource.health)} />
      <Stack gap={0} miw={0}>
        <Group gap="xs">
          <Text size="sm" className="faint">
            {resource.kind}
          </Text>
          <Text size="sm" className={classes.name} title={resource.id}>
            {resource.name}
          </Text>
          {resource.since > 0n && (
            <Text size="xs" className="faint">
              <Ago at={resource.since} />
            </Text>
          )}
        </Group>
        {resource.why && (
          <Text size="xs" className="faint">
            {resource.why}
          </Text>
        )}
      </Stack>
    </div>
  );
}
