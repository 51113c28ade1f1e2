// A node of the resource tree: the application, a resource, or a group of resources of one kind.

import { Handle, Position } from "@xyflow/react";
import { useEffect, useRef } from "react";

import { StatusIcon } from "../../components/status";
import { Age, useAge } from "../../components/time";
import { type StatusDisplay } from "../../display-names";
import { IconChevronRight } from "../../icons";
import type { GraphNode } from "./graph";
import { APPLICATION, categoryOf, KindIcon } from "./kind-icon";
import type { HealthCounts } from "./live-state";
import { countsText, nameOf, nodeStatus } from "./node-text";
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
  const age = useAge(node.resource?.createdAt ?? 0);
  const status = nodeStatus(node, data.rootStatus);
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
        aria-label={describe(node, age, status)}
        aria-expanded={node.expandable ? node.expanded : undefined}
        title={titleOf(node)}
        onClick={open}
      >
        <KindIcon category={node.parentId === null ? APPLICATION : categoryOf(kindOfNode(node))} />
        <span className={classes.text}>
          <Name text={nameOf(node)} />{" "}
          <span className={classes.kind}>
            <Caption node={node} age={age} />
          </span>
        </span>
        <StatusIcon status={status} size={17} />
      </button>
      {node.expandable && node.parentId !== null && (
        <button
          type="button"
          className={classes.toggle}
          tabIndex={-1}
          aria-label={toggleLabel(node)}
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

function Caption({ node, age }: { node: GraphNode; age: string }) {
  if (node.parentId === null) return <>Application</>;
  if (!node.resource) return <>{countsText(node.below)}</>;
  const { kind, createdAt } = node.resource;
  return (
    <>
      <span className={classes.kindName}>{kind}</span>{" "}
      {age && (
        <span className={classes.age}>
          <Age at={createdAt} text={age} />
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

/** The accessible name. It begins with the visible text, as people who speak to their computer read it. */
function describe(node: GraphNode, age: string, status: StatusDisplay): string {
  if (node.members > 0) return `${nameOf(node)}, ${countsText(node.below)}`;
  const kind = node.resource?.kind ?? "Application";
  const below = node.expandable && !node.expanded ? `, ${total(node.below)} below` : "";
  return `${[node.label, kind, age].filter(Boolean).join(" ")}, ${status.text}${below}`;
}

const toggleLabel = (node: GraphNode): string =>
  node.expanded ? `Collapse ${nameOf(node)}` : `Expand ${nameOf(node)}, ${total(node.below)} below`;

const total = (counts: HealthCounts): number => counts.healthy + counts.unhealthy + counts.unknown;
