// The user's rights in components: what they do not allow is not shown.

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { rightsQuery } from "./queries";
import { type May, mayWith } from "./rights";

/** What the user may do. The layout shows pages only when it is known. */
export function useMay(): May {
  const { data } = useQuery(rightsQuery);
  return useMemo(() => mayWith(data ?? []), [data]);
}
