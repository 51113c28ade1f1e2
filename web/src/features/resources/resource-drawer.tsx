// The details of one resource, beside the tree.

import { Anchor, Drawer, Group, Skeleton, Stack, Text } from "@mantine/core";
import { lazy, Suspense } from "react";

import { CopyText } from "../../components/copy";
import { DetailList } from "../../components/detail-list";
import { StatusBadge } from "../../components/status";
import { RelativeTime } from "../../components/time";
import { categoryOf, KindIcon } from "./kind-icon";
import { healthDisplay, type Resource } from "./live-state";

const ResourceDetails = lazy(async () => ({
  default: (await import("./details/resource-details")).ResourceDetails,
}));

interface ResourceDrawerProps {
  applicationId: string;
  /** The resource with `resourceId`; undefined if it is gone. */
  resource: Resource | undefined;
  resources: readonly Resource[];
  resourceId: string | null;
  select: (resourceId: string) => void;
  close: () => void;
  /** Whether the drawer is inside the element that fills the screen. */
  fullscreen: boolean;
}

export function ResourceDrawer(props: ResourceDrawerProps) {
  const { resource, resourceId, close, fullscreen } = props;
  return (
    <Drawer
      opened={resourceId !== null}
      onClose={close}
      position="right"
      withinPortal={!fullscreen}
      size="xl"
      title={resource ? <Heading resource={resource} /> : "Resource"}
      closeButtonProps={{ "aria-label": "Close" }}
      overlayProps={{ backgroundOpacity: 0.2 }}
    >
      {resource ? (
        <Content {...props} resource={resource} />
      ) : (
        <Text size="sm">This resource no longer exists.</Text>
      )}
    </Drawer>
  );
}

function Heading({ resource }: { resource: Resource }) {
  return (
    <Group gap="sm" wrap="nowrap" miw={0}>
      <KindIcon category={categoryOf(resource.kind)} />
      <Stack gap={0} miw={0}>
        <Text fw={650} style={{ overflowWrap: "anywhere" }}>
          {resource.name}
        </Text>
        <Text size="sm" className="faint">
          {resource.kind}
        </Text>
      </Stack>
    </Group>
  );
}

type ContentProps = Pick<ResourceDrawerProps, "applicationId" | "resources" | "select"> & { resource: Resource };

function Content({ applicationId, resource, resources, select }: ContentProps) {
  const above = resources.filter(({ id }) => id !== resource.id && resource.parents.includes(id));
  const below = resources.filter(({ parents }) => parents.includes(resource.id));
  return (
    <Stack gap="lg">
      <Stack gap="xs">
        <div>
          <StatusBadge status={healthDisplay(resource.health)} />
        </div>
        {resource.healthDescription && (
          <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
            {resource.healthDescription}
          </Text>
        )}
      </Stack>
      <DetailList
        items={[
          ["Namespace", resource.namespace],
          ["API version", resource.apiVersion],
          ["Created", resource.createdAt > 0n && <RelativeTime key="created" at={resource.createdAt} />],
          ["Above it", above.length > 0 && <Links key="above" resources={above} select={select} />],
          ["Below it", below.length > 0 && <Links key="below" resources={below} select={select} />],
          ...Object.entries(resource.metadata)
            .filter(([name]) => name !== "Namespace" && name !== "API Version")
            .map(([name, value]): [string, string] => [name, value]),
          ["ID", <CopyText key="id" text={resource.id} label="ID" />],
        ]}
      />
      <Suspense fallback={<Skeleton height={180} role="status" aria-label="Loading details" />}>
        <ResourceDetails applicationId={applicationId} resourceId={resource.id} />
      </Suspense>
    </Stack>
  );
}

const LINKS_SHOWN = 20;

function Links({ resources, select }: Pick<ResourceDrawerProps, "resources" | "select">) {
  return (
    <Stack gap={2} align="flex-start">
      {resources.slice(0, LINKS_SHOWN).map(({ id, kind, name }) => (
        <Anchor key={id} component="button" type="button" inherit ta="start" onClick={() => select(id)}>
          {kind} {name}
        </Anchor>
      ))}
      {resources.length > LINKS_SHOWN && <Text size="sm">and {resources.length - LINKS_SHOWN} more</Text>}
    </Stack>
  );
}
