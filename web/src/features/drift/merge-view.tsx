// Two texts with their differences, drawn by CodeMirror. Loaded when a difference is shown.

import { MergeView as CodeMirrorMergeView, unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView, lineNumbers } from "@codemirror/view";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";

import classes from "./drift.module.css";

export type DiffLayout = "unified" | "split";

interface MergeViewProps {
  before: string;
  after: string;
  layout: DiffLayout;
  label: string;
}

export default function MergeView({ before, after, layout, label }: MergeViewProps) {
  const parent = useRef<HTMLDivElement>(null);
  const dark = useComputedColorScheme("light") === "dark";
  useEffect(() => {
    if (!parent.current) return;
    const extensions = [
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      EditorView.lineWrapping,
      lineNumbers(),
      EditorView.theme({}, { dark }),
      EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
    ];
    const view =
      layout === "split"
        ? new CodeMirrorMergeView({
            a: { doc: before, extensions },
            b: { doc: after, extensions },
            parent: parent.current,
            collapseUnchanged: { margin: 3, minSize: 6 },
          })
        : new EditorView({
            doc: after,
            parent: parent.current,
            extensions: [
              ...extensions,
              unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged: { margin: 3, minSize: 6 } }),
            ],
          });
    return () => view.destroy();
  }, [before, after, layout, label, dark]);
  return <div ref={parent} className={classes.merge} />;
}
