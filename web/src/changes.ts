// Changes of records at the control plane, each with the queries that it makes stale. Commands to pipeds are in
// `commands.ts`; changes that others make arrive by the change feed, see `live.ts`.

import { type QueryKey, useMutation, useQueryClient } from "@tanstack/react-query";

import { key } from "./queries";

/**
 * A mutation that makes `request`. It is pending until the queries below `stale` are loaded again; then `onSuccess` is
 * called. They are also loaded again after a failure: the change may have been made all the same.
 */
export function useChange<Value = void, Result = unknown>(
  request: (value: Value) => Promise<Result>,
  stale: readonly QueryKey[],
  onSuccess?: (result: Result) => unknown,
) {
  const client = useQueryClient();
  const loadAgain = () => Promise.all(stale.map((queryKey) => client.invalidateQueries({ queryKey })));
  return useMutation({
    mutationFn: request,
    onSuccess: async (result) => {
      await loadAgain();
      await onSuccess?.(result);
    },
    onError: () => void loadAgain(),
  });
}

/** A change of the project's settings. */
export const useProjectChange = <Value = void>(request: (value: Value) => Promise<unknown>, onSuccess?: () => unknown) =>
  useChange(request, [key.project], onSuccess);
