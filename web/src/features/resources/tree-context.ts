// What the nodes of the resource tree share. A context instead of properties, so that selecting a node does not
// rebuild all of them.

import { createContext, useContext } from "react";

export interface TreeActions {
  /** ID of the node that the keyboard is on, and of the selected one; null if there is none. */
  currentId: string;
  selectedId: string | null;
  /** Changes whenever the keyboard moved to another node, which then takes the focus. */
  focusRequest: number;
  select: (id: string) => void;
  toggle: (id: string, open: boolean) => void;
}

export const TreeContext = createContext<TreeActions | null>(null);

export function useTree(): TreeActions {
  const tree = useContext(TreeContext);
  if (!tree) throw new Error("no TreeContext above this component");
  return tree;
}
