// The layout of every page after login: header, navigation and the page itself.

import { AppShell, Badge, Burger, Center, Group, Loader, NavLink, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Suspense, useEffect, useRef } from "react";
import { Link, Navigate, Outlet, useLocation } from "react-router";

import { awaitsApprovalOf } from "../attention";
import { Commands } from "../features/commands/commands";
import { useNotices } from "../features/notifications/use-notices";
import { useStartLiveUpdates } from "../live";
import { PAGE_ICONS } from "../page-icons";
import { meQuery, runningDeploymentsQuery } from "../queries";
import { Action, Resource, useMay } from "../rights";
import { useSession } from "../session";
import type { GetMeResponse } from "../schema/web/project_pb";
import { ConnectionIndicator, OutOfDateAlert } from "./connection-indicator";
import { ErrorAlert } from "./error-alert";
import { Logo } from "./logo";
import { setTitleCount } from "../title";
import { InboxLink } from "./inbox-link";
import { ThemeMenu } from "./theme-menu";
import { UserMenu } from "./user-menu";

const NAVIGATION = [
  { to: "/applications", text: "Applications", needs: [Resource.APPLICATION, Action.LIST] },
  { to: "/deployments", text: "Deployments", needs: [Resource.DEPLOYMENT, Action.LIST] },
  { to: "/attention", text: "Needs attention", needs: [Resource.DEPLOYMENT, Action.LIST] },
  { to: "/chains", text: "Chains", needs: [Resource.DEPLOYMENT_CHAIN, Action.LIST] },
  { to: "/traces", text: "Traces", needs: [Resource.DEPLOYMENT, Action.LIST] },
  { to: "/events", text: "Events", needs: [Resource.EVENT, Action.LIST] },
  { to: "/insights", text: "Insights", needs: [Resource.INSIGHT, Action.GET] },
  { to: "/pipeds", text: "Pipeds", needs: [Resource.PIPED, Action.LIST] },
  { to: "/api-keys", text: "API keys", needs: [Resource.API_KEY, Action.LIST] },
  { to: "/settings", text: "Settings", needs: [Resource.PROJECT, Action.GET] },
  { to: "/audit-log", text: "Audit log", needs: [Resource.AUDIT_LOG, Action.LIST] },
] as const;

/** Redirects to the login page unless a user is signed in; the login page redirects back. */
export function Layout() {
  const me = useQuery(meQuery);
  const session = useSession();
  const { pathname, search, hash } = useLocation();
  if (session.isOver) return <Loading />;
  if (me.data) return <Connected me={me.data} />;
  if (me.data === null) {
    const next = pathname === "/" ? "" : `?next=${encodeURIComponent(pathname + search + hash)}`;
    return <Navigate to={`/login${next}`} replace />;
  }
  if (me.isError) {
    return (
      <Center mih="100vh" p="md">
        <ErrorAlert title="The current user could not be loaded" error={me.error} retry={() => me.refetch()} />
      </Center>
    );
  }
  return <Loading />;
}

function Loading() {
  return (
    <Center mih="60vh">
      <Loader aria-label="Loading" />
    </Center>
  );
}

function Connected({ me }: { me: GetMeResponse }) {
  return useStartLiveUpdates() ? <SignedInLayout me={me} /> : <Loading />;
}

function SignedInLayout({ me }: { me: GetMeResponse }) {
  useNotices(me);
  const [opened, navigation] = useDisclosure(false);
  const main = useFocusOnNavigation(navigation.close);
  const { pathname } = useLocation();
  const approvals = useApprovals(me.subject);
  const may = useMay();
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
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
                onClick={navigation.toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label={opened ? "Close navigation" : "Open navigation"}
                aria-expanded={opened}
              />
              <Link to="/applications" className="link" aria-label="PipeCD home">
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
              <Commands />
              <ConnectionIndicator />
              <InboxLink />
              <ThemeMenu />
              <UserMenu me={me} />
            </Group>
          </Group>
        </AppShell.Header>
        <AppShell.Navbar p="xs" bg="var(--surface)" aria-label="Main">
          <Stack gap={2}>
            {NAVIGATION.filter(({ needs: [resource, action] }) => may?.(resource, action)).map(({ to, text }) => (
              <NavLink
                key={to}
                component={Link}
                to={to}
                label={text}
                leftSection={<PageIcon to={to} />}
                rightSection={to === "/attention" && approvals > 0 && <ApprovalCount count={approvals} />}
                active={pathname.startsWith(to)}
                aria-current={pathname.startsWith(to) ? "page" : undefined}
                style={{ borderRadius: 8 }}
              />
            ))}
          </Stack>
        </AppShell.Navbar>
        <AppShell.Main id="main" ref={main} tabIndex={-1}>
          <OutOfDateAlert />
          <Suspense fallback={<Loading />}>
            <Outlet />
          </Suspense>
        </AppShell.Main>
      </AppShell>
    </>
  );
}

/** The number of deployments that wait for the user's approval. It is also in the title of the browser's tab. */
function useApprovals(user: string): number {
  const running = useQuery(runningDeploymentsQuery);
  const count = running.data?.filter((deployment) => awaitsApprovalOf(deployment, user)).length ?? 0;
  useEffect(() => setTitleCount(count), [count]);
  return count;
}

function PageIcon({ to }: { to: keyof typeof PAGE_ICONS }) {
  const Icon = PAGE_ICONS[to];
  return <Icon size={18} stroke={1.8} aria-hidden />;
}

function ApprovalCount({ count }: { count: number }) {
  const text = count === 1 ? "1 deployment waits for approval" : `${count} deployments wait for approval`;
  return (
    <Badge size="sm" circle={count < 10} color="violet.9" title={text} aria-label={text}>
      {count}
    </Badge>
  );
}

/** Moves the focus to the start of a new page, for keyboard and screen reader users. */
function useFocusOnNavigation(onNavigation: () => void) {
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  const previousPathname = useRef(pathname);
  useEffect(() => {
    if (previousPathname.current === pathname) return;
    previousPathname.current = pathname;
    onNavigation();
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [pathname, onNavigation]);
  return main;
}
