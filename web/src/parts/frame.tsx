// What surrounds every page once somebody is signed in: navigation, who they are, whether the page is live.

import { AppShell, Burger, Center, Group, Loader, NavLink, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconApps, IconKey, IconRocket, IconServerBolt } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Suspense, useEffect, useRef } from "react";
import { Link, Navigate, Outlet, useLocation } from "react-router";

import { useFollowing } from "../live";
import { meQuery } from "../queries";
import type { GetMeResponse } from "../schema/web/project_pb";
import { LiveMark } from "./live-mark";
import { Logo } from "./logo";
import { Problem } from "./problem";
import { ThemeMenu } from "./theme-menu";
import { UserMenu } from "./user-menu";

const PLACES = [
  { to: "/applications", text: "Applications", Icon: IconApps },
  { to: "/deployments", text: "Deployments", Icon: IconRocket },
  { to: "/pipeds", text: "Pipeds", Icon: IconServerBolt },
  { to: "/api-keys", text: "API keys", Icon: IconKey },
];

/** Lets in who is signed in, and sends everybody else to the log-in page and back again. */
export function Frame() {
  const me = useQuery(meQuery);
  const { pathname, search } = useLocation();
  if (me.data) return <Framed me={me.data} />;
  if (me.data === null) {
    const next = pathname === "/" ? "" : `?next=${encodeURIComponent(pathname + search)}`;
    return <Navigate to={`/login${next}`} replace />;
  }
  if (me.isError) {
    return (
      <Center mih="100vh" p="md">
        <Problem title="Cannot find out who you are" error={me.error} retry={() => me.refetch()} />
      </Center>
    );
  }
  return <Waiting />;
}

function Waiting() {
  return (
    <Center mih="60vh">
      <Loader aria-label="Loading" />
    </Center>
  );
}

function Framed({ me }: { me: GetMeResponse }) {
  useFollowing();
  const [opened, menu] = useDisclosure(false);
  const main = useFocusOnNewPage(menu.close);
  const { pathname } = useLocation();
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <AppShell
        header={{ height: 56 }}
        navbar={{ width: 216, breakpoint: "sm", collapsed: { mobile: !opened } }}
        padding={{ base: "md", md: "xl" }}
      >
        <AppShell.Header px="md" bg="var(--surface)">
          <Group h="100%" justify="space-between" wrap="nowrap" gap="xs">
            <Group gap="xs" wrap="nowrap" miw={0}>
              <Burger
                opened={opened}
                onClick={menu.toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label={opened ? "Close the navigation" : "Open the navigation"}
                aria-expanded={opened}
              />
              <Link to="/applications" className="link" aria-label="PipeCD, to the applications">
                <Group gap={8} wrap="nowrap">
                  <Logo />
                  <Text fw={700} size="lg" visibleFrom="xs">
                    PipeCD
                  </Text>
                </Group>
              </Link>
              <Text className="faint" size="sm" truncate title="Project">
                {me.projectId}
              </Text>
            </Group>
            <Group gap="sm" wrap="nowrap">
              <LiveMark />
              <ThemeMenu />
              <UserMenu me={me} />
            </Group>
          </Group>
        </AppShell.Header>
        <AppShell.Navbar p="xs" bg="var(--surface)" aria-label="Main">
          <Stack gap={2}>
            {PLACES.map(({ to, text, Icon }) => (
              <NavLink
                key={to}
                component={Link}
                to={to}
                label={text}
                leftSection={<Icon size={18} stroke={1.8} aria-hidden />}
                active={pathname.startsWith(to)}
                aria-current={pathname.startsWith(to) ? "page" : undefined}
                style={{ borderRadius: 8 }}
              />
            ))}
          </Stack>
        </AppShell.Navbar>
        <AppShell.Main id="main" ref={main} tabIndex={-1}>
          <Suspense fallback={<Waiting />}>
            <Outlet />
          </Suspense>
        </AppShell.Main>
      </AppShell>
    </>
  );
}

/** A new page takes the focus, so that keyboard and screen reader start where it starts. */
function useFocusOnNewPage(leave: () => void) {
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  const before = useRef(pathname);
  useEffect(() => {
    if (before.current === pathname) return;
    before.current = pathname;
    leave();
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [pathname, leave]);
  return main;
}
