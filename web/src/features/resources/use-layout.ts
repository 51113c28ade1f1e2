// The layout of the visible part of the resource tree, computed in a worker.

import { useEffect, useRef, useState } from "react";

import type { Graph } from "./graph";
import type { LayoutNode } from "./layout";
import type { TreeLayout } from "./tree-layout";

export interface PlacedGraph {
  graph: Graph;
  /** Names what the graph shows: a filter, or how far it is opened. */
  part: string;
  layout: TreeLayout;
}

type Respond = (layout: TreeLayout) => void;

/** Answers the latest request only. Without workers, as in tests, the layout is computed in the page. */
class LayoutClient {
  #worker: Worker | null = null;
  #request = 0;

  constructor(private readonly respond: Respond) {}

  place(nodes: LayoutNode[]): void {
    this.#request += 1;
    const request = this.#request;
    if (typeof Worker === "undefined") {
      void import("./layout").then(({ placeNodes }) => request === this.#request && this.respond(placeNodes(nodes)));
      return;
    }
    this.#start().postMessage({ request, nodes });
  }

  stop(): void {
    this.#request += 1;
    this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    this.#worker = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    this.#worker.addEventListener("message", ({ data }: MessageEvent<{ request: number; layout: TreeLayout }>) => {
      if (data.request === this.#request) this.respond(data.layout);
    });
    return this.#worker;
  }
}

/** The graph with its layout; the previous one until the layout of a changed graph is computed. Null at first. */
export function useLayout(graph: Graph, part: string): PlacedGraph | null {
  const [placed, setPlaced] = useState<PlacedGraph | null>(null);
  const latest = useRef({ graph, part });
  const client = useRef<LayoutClient | null>(null);
  useEffect(() => {
    const created = new LayoutClient((layout) => setPlaced({ ...latest.current, layout }));
    client.current = created;
    return () => created.stop();
  }, []);
  useEffect(() => {
    latest.current = { graph, part };
    client.current?.place(graph.nodes.map(({ id, parentId }) => ({ id, parentId })));
  }, [graph, part]);
  return placed;
}
