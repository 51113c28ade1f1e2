// A node of the resource tree: the application, a resource, or a group of resources of one kind.

import { Handle, Position } from "@xyflow/react";
import { useEffect, useRef } from "react";

import { StatusIcon } from "../../components/status";
import { Age } from "../../components/time";
import { type StatusDisplay } from "../../display-names";
import { IconChevronRight } from "../../icons";
import type { GraphNode, HealthCounts } from "./graph";
import { APPLICATION, categoryOf, KindIcon } from "./kind-icon";
import { healthDisplay } from "./live-state";
import { countsText, nameOf } from "./node-text";
import classes from "./resource-tree.module.css";
import { useTree } from "./tree-context";

export interface NodeData extends Record<string, unknown> {
  node: GraphNode;
  /** Health of the application; resources and groups have their own. */
  rootStatus: StatusDisplay;
}

export function ResourceNodeView({ data }: { data: NodeData }) {
  const { node } = data;
  const tree = useTree();
  const button = useRef<HTMLButtonElement>(null);
  const isCurrent = tree.currentId === node.id;
  const { focusRequest } = tree;
  useEffect(() => {
    if (isCurrent && focusRequest > 0) button.current?.focus({ preventScroll: true });
  }, [isCurrent, focusRequest]);
  const status = node.resource ? healthDisplay(node.resource.health) : groupStatus(node, data.rootStatus);
  const open = () => (node.members > 0 ? tree.toggle(node.id, !node.expanded) : tree.select(node.id));
  return (
    <div
      className={classes.node}
      data-tone={status.tone}
      data-group={node.members > 0 || undefined}
      data-selected={tree.selectedId === node.id || undefined}
    >
      <Handle type="target" position={Position.Left} isConnectable={false} />
      <button
        ref={button}
        type="button"
        className={classes.body}
        tabIndex={isCurrent ? 0 : -1}
        aria-label={describe(node, status)}
        aria-expanded={node.expandable ? node.expanded : undefined}
        title={titleOf(node)}
        onClick={open}
      >
        <KindIcon category={node.parentId === null ? APPLICATION : categoryOf(kindOfNode(node))} />
        <span className={classes.text}>
          <Name text={nameOf(node)} />
          <span className={classes.kind}>
            <Caption node={node} />
          </span>
        </span>
        <StatusIcon status={status} size={17} />
      </button>
      {node.expandable && node.parentId !== null && (
        <button
          type="button"
          className={classes.toggle}
          tabIndex={-1}
          aria-label={`${node.expanded ? "Collapse" : "Expand"} ${nameOf(node)}`}
          data-expanded={node.expanded || undefined}
          onClick={() => tree.toggle(node.id, !node.expanded)}
        >
          {node.expanded || node.members > 0 ? (
            <IconChevronRight size={12} stroke={2.8} aria-hidden />
          ) : (
            total(node.below)
          )}
        </button>
      )}
      <Handle type="source" position={Position.Right} isConnectable={false} />
    </div>
  );
}

/** The end of a long name is always visible: it is what tells the pods of a ReplicaSet apart. */
const END_LENGTH = 8;
const LONG_NAME_LENGTH = 20;

function Name({ text }: { text: string }) {
  const end = text.length > LONG_NAME_LENGTH ? text.slice(-END_LENGTH) : "";
  return (
    <span className={classes.name}>
      <span className={classes.nameStart}>{text.slice(0, text.length - end.length)}</span>
      <span>{end}</span>
    </span>
  );
}

function Caption({ node }: { node: GraphNode }) {
  if (node.parentId === null) return <>Application</>;
  if (!node.resource) return <>{countsText(node.below)}</>;
  const { kind, createdAt } = node.resource;
  return (
    <>
      <span className={classes.kindName}>{kind}</span>
      {createdAt > 0n && (
        <span className={classes.age}>
          <Age at={createdAt} />
        </span>
      )}
    </>
  );
}

const kindOfNode = (node: GraphNode): string => node.resource?.kind ?? node.label.split(" ")[0] ?? "";

function titleOf(node: GraphNode): string {
  if (!node.resource) return nameOf(node);
  const { kind, namespace, name, healthDescription } = node.resource;
  return [`${kind} ${namespace ? `${namespace}/` : ""}${name}`, healthDescription.slice(0, 500)].filter(Boolean).join("\n");
}

function describe(node: GraphNode, status: StatusDisplay): string {
  if (node.members > 0) return `Group of ${node.members} ${node.label}, ${countsText(node.below)}`;
  const kind = node.resource?.kind ?? "Application";
  const below = node.expandable && !node.expanded ? `, ${total(node.below)} below` : "";
  return `${kind} ${node.label}, ${status.text}${below}`;
}

const total = (counts: HealthCounts): number => counts.healthy + counts.unhealthy + counts.unknown;

/** The worst health in a group, as everywhere: one unhealthy resource makes it unhealthy. */
function groupStatus(node: GraphNode, rootStatus: StatusDisplay): StatusDisplay {
  if (node.parentId === null) return rootStatus;
  if (node.below.unhealthy > 0) return healthDisplay(2);
  return healthDisplay(node.below.unknown > 0 ? 0 : 1);
}
