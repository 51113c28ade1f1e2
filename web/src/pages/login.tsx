// Signing in: project, user, password.

import { Alert, Button, Center, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconAlertCircle } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";

import { Logo } from "../parts/logo";
import { ThemeMenu } from "../parts/theme-menu";
import { meQuery } from "../queries";
import { signIn, takeError } from "../sign-in";

const LAST_PROJECT = "pipecd.project";

/** Only addresses of this console: a link must not send anybody elsewhere after signing in. */
function safeNext(next: string | null): string {
  return next && /^\/(?![/\\])/.test(next) ? next : "/applications";
}

export function LoginPage() {
  const [params] = useSearchParams();
  const [problem, setProblem] = useState(takeError);
  const [waiting, setWaiting] = useState(false);
  const client = useQueryClient();
  const navigate = useNavigate();
  const project = params.get("project") ?? localStorage.getItem(LAST_PROJECT) ?? "";

  useEffect(() => {
    document.title = "Log in · PipeCD";
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const typed = (name: string) => {
      const value = form.get(name);
      return typeof value === "string" ? value : "";
    };
    const text = (name: string) => typed(name).trim();
    setWaiting(true);
    const refused = await signIn({
      project: text("project"),
      username: text("username"),
      password: typed("password"),
    });
    setProblem(refused);
    if (!refused) {
      localStorage.setItem(LAST_PROJECT, text("project"));
      const me = await client.fetchQuery({ ...meQuery, staleTime: 0 }).catch(() => null);
      if (me) return navigate(safeNext(params.get("next")), { replace: true });
      setProblem("Signed in, but the browser did not keep the session. Are cookies allowed for this address?");
    }
    setWaiting(false);
    return undefined;
  }

  return (
    <Center mih="100vh" p="md" component="main">
      <Stack w="100%" maw={380} gap="lg">
        <Group justify="center" gap="sm">
          <Logo size={36} />
          <Title order={1} size="h2">
            Log in to PipeCD
          </Title>
        </Group>
        <form className="panel" onSubmit={(event) => void submit(event)} aria-busy={waiting}>
          <Stack p="lg" gap="md">
            {problem && (
              <Alert color="red" role="alert" icon={<IconAlertCircle aria-hidden />} title="Not signed in">
                {problem}
              </Alert>
            )}
            <TextInput
              label="Project"
              name="project"
              required
              defaultValue={project}
              data-autofocus={!project || undefined}
              autoCapitalize="none"
              spellCheck={false}
            />
            <TextInput label="User" name="username" required autoComplete="username" autoCapitalize="none" spellCheck={false} />
            <PasswordInput label="Password" name="password" required autoComplete="current-password" />
            <Button type="submit" loading={waiting} fullWidth>
              Log in
            </Button>
          </Stack>
        </form>
        <Group justify="space-between" wrap="nowrap">
          <Text size="sm" className="faint">
            Projects and their administrators are named in the configuration of the control plane.
          </Text>
          <ThemeMenu />
        </Group>
      </Stack>
    </Center>
  );
}
