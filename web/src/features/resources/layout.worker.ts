// The worker that computes the layout of the resource tree, so that 1,500 nodes do not block the page.

import { type LayoutNode, placeNodes } from "./layout";

addEventListener("message", ({ data }: MessageEvent<{ request: number; nodes: LayoutNode[] }>) => {
  postMessage({ request: data.request, layout: placeNodes(data.nodes) });
});
