// An error with its message and, optionally, a retry button.

import { Alert, Button } from "@mantine/core";
import { IconAlertCircle } from "../icons";

import { errorMessage } from "../api";

interface ErrorAlertProps {
  title: string;
  error: unknown;
  retry?: () => unknown;
}

export function ErrorAlert({ title, error, retry }: ErrorAlertProps) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle aria-hidden />} title={title} role="alert">
      {errorMessage(error)}
      {retry && (
        <Button size="xs" variant="default" mt="sm" display="block" onClick={() => void retry()}>
          Retry
        </Button>
      )}
    </Alert>
  );
}
