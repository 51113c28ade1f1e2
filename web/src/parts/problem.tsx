// Something could not be loaded or done: the sentence that says why, and a way on.

import { Alert, Button } from "@mantine/core";
import { IconAlertCircle } from "@tabler/icons-react";

import { sentence } from "../api";

interface ProblemProps {
  title: string;
  error: unknown;
  retry?: () => unknown;
}

export function Problem({ title, error, retry }: ProblemProps) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle aria-hidden />} title={title} role="alert">
      {sentence(error)}
      {retry && (
        <Button size="xs" variant="default" mt="sm" display="block" onClick={() => void retry()}>
          Try again
        </Button>
      )}
    </Alert>
  );
}
