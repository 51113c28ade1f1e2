// The live state of an application: a tree of its running resources, with their health.

import { Group, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { buildTree, healthDisplay, listResources, type Resource, type ResourceNode } from "../live-state";
import { liveStateQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { ErrorAlert } from "./error-alert";
import classes from "./live-state.module.css";
import { Section } from "./section";
import { StatusBadge, StatusIcon } from "./status";
import { RelativeTime } from "./time";

export function LiveState({ application }: { application: Application }) {
  const liveState = useQuery(liveStateQuery(application.id));
  if (liveState.data === null) return null;
  const roots = liveState.data ? buildTree(listResources(liveState.data)) : [];
  return (
    <Section
      title="Live state"
      aside={liveState.data && <StatusBadge status={healthDisplay(liveState.data.healthStatus)} />}
    >
      {liveState.isPending && <Skeleton height={80} />}
      {liveState.isError && !liveState.data && (
        <ErrorAlert title="The live state could not be loaded" error={liveState.error} />
      )}
      {liveState.data && roots.length === 0 && (
        <Text size="sm" className="faint">
          No resources of this application are running.
        </Text>
      )}
      {roots.length > 0 && <ResourceTree nodes={roots} name="Resources" />}
    </Section>
  );
}

function ResourceTree({ nodes, name }: { nodes: ResourceNode[]; name: string }) {
  return (
    <ul className={classes.tree} aria-label={name}>
      {nodes.map(({ resource, children }) => (
        <li key={resource.id}>
          <ResourceLine resource={resource} />
          {children.length > 0 && <ResourceTree nodes={children} name={`Children of ${resource.name}`} />}
        </li>
      ))}
    </ul>
  );
}

function ResourceLine({ resource }: { resource: Resource }) {
  return (
    <div className={classes.resource}>
      <StatusIcon status={healthDisplay(resource.health)} />
      <Stack gap={0} miw={0}>
        <Group gap="xs">
          <Text size="sm" className="faint" title={resource.apiVersion || undefined}>
            {resource.kind}
          </Text>
          <Text size="sm" className={classes.name} title={resource.id}>
            {resource.namespace ? `${resource.namespace}/${resource.name}` : resource.name}
          </Text>
          {resource.createdAt > 0n && (
            <Text size="xs" className="faint">
              <RelativeTime at={resource.createdAt} />
            </Text>
          )}
        </Group>
        {resource.healthDescription && (
          <Text size="xs" className="faint">
            {resource.healthDescription}
          </Text>
        )}
      </Stack>
    </div>
  );
}
