// The resources of an application as a picture: React Flow draws what `graph.ts` selects where `tree-layout.ts` places it.
// Loaded when it is shown, together with its libraries.

import "@xyflow/react/dist/base.css";

import { useComputedColorScheme } from "@mantine/core";
import {
  Controls,
  type Edge,
  MiniMap,
  type Node,
  type NodeHandle,
  Position as Side,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from "@xyflow/react";
import { type KeyboardEvent, useCallback, useLayoutEffect, useMemo, useRef, useState } from "react";

import type { StatusDisplay } from "../../display-names";
import { type Graph, nodeId, ROOT_ID } from "./graph";
import { nodeStatus } from "./node-text";
import { type NodeData, ResourceNodeView } from "./resource-node";
import classes from "./resource-tree.module.css";
import { NODE_SIZE, placeTree, type Position, type TreeLayout } from "./tree-layout";
import { type TreeActions, TreeContext } from "./tree-context";

interface ResourceTreeProps {
  graph: Graph;
  rootStatus: StatusDisplay;
  /** ID of the resource whose details are open. */
  selectedId: string | null;
  onSelect: (resourceId: string) => void;
  onToggle: (nodeId: string, open: boolean) => void;
  /** Another part of the tree is shown from its beginning when this changes. */
  part: string;
  /** Fills its container instead of being as high as its content. */
  fill: boolean;
}

const NODE_TYPES = { resource: ResourceNodeView };
/** In CSS pixels. A small tree does not leave an empty frame, a large one does not push the rest off the page. */
const HEIGHT = { min: 150, max: 620, padding: 64 };
/** A smaller picture could not be read: then a part is shown, and the map of the whole. */
const ZOOM = { min: 0.15, readable: 0.55, max: 1.5 };
const MARGIN = 28;
const NODES_FOR_MAP = 24;

export default function ResourceTree(props: ResourceTreeProps) {
  return (
    <ReactFlowProvider>
      <Picture {...props} />
    </ReactFlowProvider>
  );
}

function Picture({ graph, rootStatus, selectedId, onSelect, onToggle, part, fill }: ResourceTreeProps) {
  const layout = useMemo(() => placeTree(graph.root), [graph]);
  const { frame, show, keepInPlace } = useViewport(layout, `${part} ${String(fill)}`);
  const toggle = useCallback(
    (id: string, open: boolean) => {
      keepInPlace(id);
      onToggle(id, open);
    },
    [keepInPlace, onToggle],
  );
  const select = useCallback(
    (id: string) => {
      const resource = graph.nodes.find((node) => node.id === id)?.resource;
      if (resource) onSelect(resource.id);
    },
    [graph, onSelect],
  );
  const { currentId, focusRequest, onKeyDown } = useKeyboard(graph, layout, frame, toggle, select);
  const selected = selectedId === null ? null : nodeId(selectedId);
  const actions = useMemo<TreeActions>(
    () => ({ currentId, focusRequest, selectedId: selected, select, toggle }),
    [currentId, focusRequest, selected, select, toggle],
  );
  const nodes = useMemo(() => flowNodes(graph, layout, rootStatus), [graph, layout, rootStatus]);
  const edges = useMemo(() => flowEdges(graph, selected), [graph, selected]);
  const colorScheme = useComputedColorScheme("light");
  const height = fill ? "100%" : Math.min(HEIGHT.max, Math.max(HEIGHT.min, layout.height + HEIGHT.padding));
  return (
    <TreeContext value={actions}>
      <div ref={frame} className={classes.frame} style={{ height }}>
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={NODE_TYPES}
          aria-label="Resource tree. Move with the arrow keys, open details with Enter."
          colorMode={colorScheme}
          onInit={show}
          minZoom={ZOOM.min}
          maxZoom={ZOOM.max}
          onlyRenderVisibleElements
          nodesDraggable={false}
          nodesConnectable={false}
          nodesFocusable={false}
          edgesFocusable={false}
          elementsSelectable={false}
          disableKeyboardA11y
          zoomOnScroll={fill}
          preventScrolling={fill}
          zoomOnDoubleClick={false}
          onKeyDown={onKeyDown}
        >
          <Controls showInteractive={false} orientation="horizontal" position="bottom-left" aria-label="Zoom" />
          {graph.nodes.length > NODES_FOR_MAP && (
            <MiniMap
              className={classes.map}
              pannable
              zoomable
              ariaLabel="Map of all resources"
              nodeClassName={(node) => classes[`map-${nodeStatus((node.data as NodeData).node, rootStatus).tone}`] ?? ""}
            />
          )}
        </ReactFlow>
      </div>
    </TreeContext>
  );
}

const ORIGIN: Position = { x: 0, y: 0 };
/** Where edges begin and end. */
const HANDLES: NodeHandle[] = [
  { type: "target", position: Side.Left, x: 0, y: NODE_SIZE.height / 2 },
  { type: "source", position: Side.Right, x: NODE_SIZE.width, y: NODE_SIZE.height / 2 },
];

function flowNodes(graph: Graph, layout: TreeLayout, rootStatus: StatusDisplay): Node<NodeData>[] {
  return graph.nodes.map((node) => ({
    id: node.id,
    type: "resource",
    position: layout.positions.get(node.id) ?? ORIGIN,
    data: { node, rootStatus },
    // React Flow ignores the pointer on nodes that it cannot drag or select.
    style: { pointerEvents: "all" },
    // Without them, React Flow renders every node once to measure them, also those out of view.
    handles: HANDLES,
    ...NODE_SIZE,
  }));
}

/** Ownership, and for the selected resource also what it is related to without being owned by it. */
function flowEdges(graph: Graph, selected: string | null): Edge[] {
  const ids = new Set(graph.nodes.map(({ id }) => id));
  const owned = graph.nodes.flatMap(({ id, parentId }): Edge[] =>
    parentId === null ? [] : [{ id, source: parentId, target: id, type: "smoothstep", pathOptions: { borderRadius: 8 } } as Edge],
  );
  const related = graph.nodes.flatMap(({ id, parentId, resource }) =>
    (resource?.parents ?? [])
      .map(nodeId)
      .filter((other) => other !== parentId && ids.has(other) && (other === selected || id === selected))
      .map((other): Edge => ({ id: `${other} ${id}`, source: other, target: id, className: classes.related })),
  );
  return [...owned, ...related];
}

/**
 * Shows the whole tree at first and when `part` changes, or the tree's beginning if the whole could not be read.
 * Otherwise the view stays where it is, so that a change of the live state does not move it. `keepInPlace` is called
 * before a node is opened or closed: that node stays where it is on the screen.
 */
function useViewport(layout: TreeLayout, part: string) {
  const frame = useRef<HTMLDivElement>(null);
  const { getViewport, setViewport } = useReactFlow();
  const anchor = useRef(ROOT_ID);
  const shown = useRef<{ layout: TreeLayout; part: string } | null>(null);
  const show = useCallback(() => {
    const element = frame.current;
    if (!element) return;
    const { clientWidth, clientHeight } = element;
    shown.current = { layout, part };
    void setViewport(firstViewport(layout, clientWidth, clientHeight));
  }, [layout, part, setViewport]);
  useLayoutEffect(() => {
    const previous = shown.current;
    // React Flow takes a viewport only when it is initialised, and then calls `show`.
    if (!previous) return;
    if (previous.part !== part) {
      show();
      return;
    }
    shown.current = { layout, part };
    const [before, after] = [previous.layout, layout].map(({ positions }) => positions.get(anchor.current));
    anchor.current = ROOT_ID;
    if (!before || !after) return;
    const { x, y, zoom } = getViewport();
    void setViewport({ x: x + (before.x - after.x) * zoom, y: y + (before.y - after.y) * zoom, zoom });
  }, [layout, part, show, getViewport, setViewport]);
  const keepInPlace = useCallback((id: string) => {
    anchor.current = id;
  }, []);
  return { frame, show, keepInPlace };
}

function firstViewport(layout: TreeLayout, width: number, height: number) {
  const fits = Math.min((width - 2 * MARGIN) / layout.width, (height - 2 * MARGIN) / layout.height, 1);
  const zoom = Math.max(ZOOM.readable, fits);
  const centred = (available: number, size: number) => Math.max(MARGIN, (available - size * zoom) / 2);
  return {
    x: centred(width, layout.width),
    y: centred(height, layout.height),
    zoom,
  };
}

/** Arrow keys as in every tree: up and down through the visible nodes, right opens, left closes or goes up. */
function useKeyboard(
  graph: Graph,
  layout: TreeLayout,
  frame: React.RefObject<HTMLDivElement | null>,
  toggle: (id: string, open: boolean) => void,
  select: (id: string) => void,
) {
  const { getViewport, setCenter } = useReactFlow();
  const [state, setState] = useState({ currentId: ROOT_ID, focusRequest: 0 });
  // A node that was closed in, or is gone, leaves the keyboard at the root.
  const index = Math.max(0, graph.nodes.findIndex((node) => node.id === state.currentId));
  const current = graph.nodes[index] ?? graph.root;
  const moveTo = (id: string | null | undefined) => {
    const position = layout.positions.get(id ?? "");
    if (!id || !position) return;
    setState(({ focusRequest }) => ({ currentId: id, focusRequest: focusRequest + 1 }));
    const { x, y, zoom } = getViewport();
    const { clientWidth, clientHeight } = frame.current ?? { clientWidth: 0, clientHeight: 0 };
    const [left, top] = [position.x * zoom + x, position.y * zoom + y];
    const isInView =
      left >= 0 &&
      top >= 0 &&
      left + NODE_SIZE.width * zoom <= clientWidth &&
      top + NODE_SIZE.height * zoom <= clientHeight;
    if (!isInView) void setCenter(position.x + NODE_SIZE.width / 2, position.y + NODE_SIZE.height / 2, { zoom });
  };
  const actions: Record<string, () => void> = {
    ArrowDown: () => moveTo(graph.nodes[index + 1]?.id),
    ArrowUp: () => moveTo(graph.nodes[index - 1]?.id),
    ArrowRight: () => (current.expandable && !current.expanded ? toggle(current.id, true) : moveTo(current.children[0]?.id)),
    ArrowLeft: () =>
      current.expanded && current.children.length > 0 && current.parentId !== null
        ? toggle(current.id, false)
        : moveTo(current.parentId),
    Home: () => moveTo(ROOT_ID),
    End: () => moveTo(graph.nodes.at(-1)?.id),
    Enter: () => (current.members > 0 ? toggle(current.id, !current.expanded) : select(current.id)),
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const isNode = event.target instanceof HTMLElement && event.target.classList.contains(classes.body ?? "");
    const action = actions[event.key];
    if (!isNode || !action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  };
  return { currentId: current.id, focusRequest: state.focusRequest, onKeyDown };
}
