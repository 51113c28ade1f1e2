// A change of the project's settings, after which they are loaded again.

import { useMutation, useQueryClient } from "@tanstack/react-query";

import { key } from "./queries";

export function useProjectChange<Value = void>(change: (value: Value) => Promise<unknown>, onSuccess?: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: key.project });
      onSuccess?.();
    },
  });
}
