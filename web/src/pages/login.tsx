// The login page: project, then its single sign-on, or user and password.

import { Alert, Button, Center, Divider, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconAlertCircle, IconLogin } from "../icons";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useDebouncedValue } from "@mantine/hooks";
import { type FormEvent, useEffect, useState } from "react";
import { useSearchParams } from "react-router";

import { Logo } from "../components/logo";
import { ThemeMenu } from "../components/theme-menu";
import { meQuery } from "../queries";
import { forgetSessionNotice, sessionNotice, useSession } from "../session";
import { consumeErrorCookie, fetchProvider, localPath, parseErrorCookie, signIn, ssoLink } from "../sign-in";

const LAST_PROJECT = "pipecd.project";

export function LoginPage() {
  const [params] = useSearchParams();
  const [error, setError] = useState(() => parseErrorCookie(document.cookie));
  const [submitting, setSubmitting] = useState(false);
  const client = useQueryClient();
  const session = useSession();
  const [notice] = useState(sessionNotice);
  const next = localPath(params.get("next"), "/");
  const [project, setProject] = useState(params.get("project") ?? localStorage.getItem(LAST_PROJECT) ?? "");
  const [wanted] = useDebouncedValue(project.trim(), 300);
  const { data: provider } = useQuery({
    queryKey: ["sign-in-provider", wanted],
    queryFn: ({ signal }) => fetchProvider(wanted, signal),
    enabled: wanted !== "",
    retry: false,
  });

  useEffect(() => session.onSignInElsewhere(() => session.open(next)), [session, next]);

  // Not while the page is rendered: React may discard a rendered page, and render it again.
  useEffect(() => {
    forgetSessionNotice();
    consumeErrorCookie();
  }, []);

  useEffect(() => {
    document.title = "Sign in · PipeCD";
  }, []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const value = (name: string) => {
      const entry = form.get(name);
      return typeof entry === "string" ? entry : "";
    };
    const trimmed = (name: string) => value(name).trim();
    setSubmitting(true);
    const loginError = await signIn({
      project: trimmed("project"),
      username: trimmed("username"),
      password: value("password"),
    });
    setError(loginError);
    if (!loginError) {
      localStorage.setItem(LAST_PROJECT, trimmed("project"));
      const me = await client.fetchQuery({ ...meQuery, staleTime: 0 }).catch(() => null);
      if (me) {
        session.open(next);
        return;
      }
      setError("Signed in, but the browser did not store the session cookie. Allow cookies for this address.");
    }
    setSubmitting(false);
  }

  return (
    <Center mih="100vh" p="md" component="main">
      <Stack w="100%" maw={380} gap="lg">
        <Group justify="center" gap="sm">
          <Logo size={36} />
          <Title order={1} size="h2">
            Sign in to PipeCD
          </Title>
        </Group>
        <form className="panel" onSubmit={(event) => void submit(event)} aria-busy={submitting}>
          <Stack p="lg" gap="md">
            {notice && !error && (
              <Text size="sm" role="status">
                {notice}
              </Text>
            )}
            {error && (
              <Alert color="red" role="alert" icon={<IconAlertCircle aria-hidden />} title="Login failed">
                {error}
              </Alert>
            )}
            <TextInput
              label="Project"
              name="project"
              required
              value={project}
              onChange={(event) => setProject(event.currentTarget.value)}
              data-autofocus={!project || undefined}
              autoCapitalize="none"
              spellCheck={false}
            />
            {provider && wanted === project.trim() && (
              <>
                <Button
                  component="a"
                  href={ssoLink(wanted, next)}
                  onClick={() => localStorage.setItem(LAST_PROJECT, wanted)}
                  leftSection={<IconLogin aria-hidden size={18} />}
                  fullWidth
                >
                  Continue with {provider.title}
                </Button>
                <Divider label="or as the static administrator" />
              </>
            )}
            <TextInput
              label="User"
              name="username"
              required
              autoComplete="username"
              autoCapitalize="none"
              spellCheck={false}
            />
            <PasswordInput label="Password" name="password" required autoComplete="current-password" />
            <Button type="submit" variant={provider ? "default" : "filled"} loading={submitting} fullWidth>
              Sign in
            </Button>
          </Stack>
        </form>
        <Group justify="space-between" wrap="nowrap">
          <Text size="sm" className="faint">
            Projects and their administrators are defined in the configuration of the control plane.
          </Text>
          <ThemeMenu />
        </Group>
      </Stack>
    </Center>
  );
}
