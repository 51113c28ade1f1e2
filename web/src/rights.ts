// What the signed-in user may do. Hides what the control plane would refuse; it checks every call itself.

import { queryOptions, useQuery } from "@tanstack/react-query";

import { consoleClient } from "./api";
import { key } from "./queries";
import { ProjectRBACPolicy_Action as Action, ProjectRBACResource_ResourceType as Resource } from "./schema/model/access_pb";

export { Action, Resource };

const rightsQuery = queryOptions({
  queryKey: key.rights,
  queryFn: ({ signal }) => consoleClient.seeRights({}, { signal }),
  staleTime: 60_000,
});

/** Whether the user may do something with at least some records; null while that is not known. */
export function useMay(): ((resource: Resource, action: Action) => boolean) | null {
  const { data, isError } = useQuery(rightsQuery);
  // Nothing is hidden because of a failure: the pages say what is not allowed.
  if (isError) return () => true;
  if (!data) return null;
  return (resource, action) => data.rights.some((right) => right.resource === resource && right.action === action);
}
