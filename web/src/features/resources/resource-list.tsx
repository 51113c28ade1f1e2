// The resources of an application as nested lists: the same content as the picture, for screen readers and phones.

import { Anchor, Group, Stack, Text } from "@mantine/core";

import { Breakable } from "../../components/breakable";
import { StatusIcon } from "../../components/status";
import { RelativeTime } from "../../components/time";
import type { GraphNode } from "./graph";
import { healthDisplay, worstHealth } from "./live-state";
import { countsText, nameOf } from "./node-text";
import classes from "./resource-tree.module.css";

interface ResourceListProps {
  nodes: readonly GraphNode[];
  name: string;
  onSelect: (resourceId: string) => void;
  onToggle: (nodeId: string, open: boolean) => void;
}

export function ResourceList({ nodes, name, onSelect, onToggle }: ResourceListProps) {
  return (
    <ul role="list" className={classes.list} aria-label={name}>
      {nodes.map((node) => (
        <li key={node.id}>
          {node.resource ? <ResourceLine node={node} onSelect={onSelect} /> : <GroupLine node={node} />}
          {node.expandable && !node.expanded && (
            <Anchor component="button" type="button" size="xs" onClick={() => onToggle(node.id, true)}>
              Show {node.members > 0 ? "all" : "resources below"}
            </Anchor>
          )}
          {node.children.length > 0 && (
            <ResourceList
              nodes={node.children}
              name={`Children of ${node.label}`}
              onSelect={onSelect}
              onToggle={onToggle}
            />
          )}
        </li>
      ))}
    </ul>
  );
}

function GroupLine({ node }: { node: GraphNode }) {
  return (
    <div className={classes.line}>
      <StatusIcon status={worstHealth(node.below)} />
      <Group gap="xs">
        <Text size="sm" fw={550}>
          {nameOf(node)}
        </Text>
        <Text size="xs" className="faint">
          {countsText(node.below)}
        </Text>
      </Group>
    </div>
  );
}

function ResourceLine({ node, onSelect }: { node: GraphNode; onSelect: (resourceId: string) => void }) {
  const { resource } = node;
  if (!resource) return null;
  return (
    <div className={classes.line}>
      <StatusIcon status={healthDisplay(resource.health)} />
      <Stack gap={0} miw={0}>
        <button type="button" className={classes.lineName} title={resource.id} onClick={() => onSelect(resource.id)}>
          <Breakable text={resource.namespace ? `${resource.namespace}/${resource.name}` : resource.name} />
        </button>
        <Text size="xs" className="faint" title={resource.apiVersion || undefined}>
          {resource.kind}
          {resource.createdAt > 0n && (
            <>
              {" · "}
              <RelativeTime at={resource.createdAt} />
            </>
          )}
        </Text>
        {resource.healthDescription && (
          <Text size="xs" className="faint" lineClamp={3}>
            {resource.healthDescription}
          </Text>
        )}
      </Stack>
    </div>
  );
}
