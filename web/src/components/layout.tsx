// The layout of every page after login: header, navigation and the page itself.

import { AppShell, Badge, Burger, Center, Group, Loader, NavLink, Stack, Text } from "@mantine/core";
import { useDisclosure, useWindowEvent } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { memo, Suspense, useEffect, useRef } from "react";
import { Navigate, NavigationType, Outlet, useLocation, useNavigationType } from "react-router";

import { awaitsApprovalOf } from "../attention";
import { Commands } from "../features/commands/commands";
import { useNotices } from "../features/notifications/use-notices";
import { useLiveUpdates, useStartLiveUpdates } from "../live";
import { PAGE_ICONS } from "../page-icons";
import { forbiddenPage, NAVIGATION, PAGE_RIGHTS } from "../page-rights";
import { meQuery, rightsQuery, runningDeploymentsQuery } from "../queries";
import type { Right } from "../rights";
import { ConsoleService } from "../schema/pipecd/v1/console_pb";
import { useSession } from "../session";
import { useMay } from "../use-may";
import type { GetMeResponse } from "../schema/web/project_pb";
import { ConnectionIndicator, OutOfDateAlert } from "./connection-indicator";
import { ErrorAlert } from "./error-alert";
import { ForbiddenPage } from "./forbidden-page";
import { LeftOutParams } from "./left-out-params";
import { Logo } from "./logo";
import { RowLink, RowLinks } from "./row-link";
import { setTitleCount } from "../title";
import { InboxLink } from "./inbox-link";
import { ThemeMenu } from "./theme-menu";
import { UserMenu } from "./user-menu";

const TITLES = new Map(PAGE_RIGHTS.map(({ path, title }) => [path, title]));

/** Redirects to the login page unless a user is signed in; the login page redirects back. */
export function Layout() {
  const me = useQuery(meQuery);
  const rights = useQuery({ ...rightsQuery, enabled: me.data !== null });
  const session = useSession();
  const { pathname, search, hash } = useLocation();
  if (session.isOver) return <Loading />;
  if (me.data && rights.data) return <Connected me={me.data} rights={rights.data} />;
  if (me.data === null) {
    const next = pathname === "/" ? "" : `?next=${encodeURIComponent(pathname + search + hash)}`;
    return <Navigate to={`/login${next}`} replace />;
  }
  const failed = [me, rights].find(({ isError }) => isError);
  if (failed) {
    return (
      <Center mih="100vh" p="md">
        <ErrorAlert title="The current user could not be loaded" error={failed.error} retry={() => failed.refetch()} />
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

interface SignedInProps {
  me: GetMeResponse;
  rights: readonly Right[];
}

/** Not rendered with each navigation, of which the page itself and a few links depend. */
const Connected = memo(function Connected({ me, rights }: SignedInProps) {
  useFollowRights(rights);
  return useStartLiveUpdates() ? <SignedInLayout me={me} /> : <Loading />;
});

/** When the rights of the user change, everything that they include is loaded again. */
function useFollowRights(rights: readonly Right[]) {
  const liveUpdates = useLiveUpdates();
  const previous = useRef(rights);
  useEffect(() => {
    if (previous.current === rights) return;
    previous.current = rights;
    liveUpdates.invalidateAll();
  }, [rights, liveUpdates]);
}

function SignedInLayout({ me }: Pick<SignedInProps, "me">) {
  const [opened, { toggle, close }] = useDisclosure(false);
  return (
    <RowLinks>
      <Notices me={me} />
      <a className="skip" href="#main">
        Skip to content
      </a>
      <AppShell
        header={{ height: 56 }}
        navbar={{ width: 232, breakpoint: "sm", collapsed: { mobile: !opened } }}
        padding={{ base: "md", md: "xl" }}
      >
        <AppShell.Header px="md" bg="var(--surface)">
          <Group h="100%" justify="space-between" wrap="nowrap" gap="xs">
            <Group gap="xs" wrap="nowrap" miw={0}>
              <Burger
                opened={opened}
                onClick={toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label={opened ? "Close navigation" : "Open navigation"}
                aria-expanded={opened}
              />
              <RowLink to="/" className="link" aria-label="PipeCD home">
                <Group gap={8} wrap="nowrap">
                  <Logo />
                  <Text fw={700} size="lg" visibleFrom="xs">
                    PipeCD
                  </Text>
                </Group>
              </RowLink>
              <Text className="faint" size="sm" truncate title={`Project ${me.projectId}`}>
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
          <Navigation user={me.subject} />
        </AppShell.Navbar>
        <Main projectId={me.projectId} onNavigation={close} />
      </AppShell>
    </RowLinks>
  );
}

function Notices({ me }: Pick<SignedInProps, "me">) {
  useNotices(me);
  return null;
}

function Navigation({ user }: { user: string }) {
  const { pathname } = useLocation();
  const approvals = useApprovals(user);
  return <PageLinks current={NAVIGATION.find((to) => pathname.startsWith(to))} approvals={approvals} />;
}

interface PageLinksProps {
  current: (typeof NAVIGATION)[number] | undefined;
  approvals: number;
}

const PageLinks = memo(function PageLinks({ current, approvals }: PageLinksProps) {
  const may = useMay();
  return (
    <Stack gap={2}>
      {NAVIGATION.filter((to) => !forbiddenPage(may, to)).map((to) => (
        <NavLink
          key={to}
          component={RowLink}
          to={to}
          label={TITLES.get(to)}
          leftSection={<PageIcon to={to} />}
          rightSection={to === "/attention" && approvals > 0 && <ApprovalCount count={approvals} />}
          active={to === current}
          aria-current={to === current ? "page" : undefined}
          style={{ borderRadius: 8 }}
        />
      ))}
    </Stack>
  );
});

function Main({ projectId, onNavigation }: { projectId: string; onNavigation: () => void }) {
  const main = useFocusOnNavigation(onNavigation);
  const { pathname } = useLocation();
  const may = useMay();
  const forbidden = forbiddenPage(may, pathname);
  return (
    <AppShell.Main id="main" ref={main} tabIndex={-1}>
      <OutOfDateAlert />
      <LeftOutParams />
      <Suspense fallback={<Loading />}>
        {forbidden ? <ForbiddenPage page={forbidden} projectId={projectId} /> : <Outlet />}
      </Suspense>
    </AppShell.Main>
  );
}

/** The number of deployments that wait for the user's approval. It is also in the title of the browser's tab. */
function useApprovals(user: string): number {
  const may = useMay();
  const enabled = may(ConsoleService.method.pageDeployments);
  const running = useQuery({ ...runningDeploymentsQuery, enabled });
  const count = running.data?.filter((deployment) => awaitsApprovalOf(deployment, user, may)).length ?? 0;
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

/**
 * Moves the focus to the start of a new page, for keyboard and screen reader users. Back and Forward return to where the
 * page was scrolled to, which the browser itself cannot: it scrolls before the page is there.
 */
function useFocusOnNavigation(onNavigation: () => void) {
  const main = useRef<HTMLElement>(null);
  const { pathname, key: entry } = useLocation();
  const isReturn = useNavigationType() === NavigationType.Pop;
  const shown = useRef({ pathname, entry });
  const remembers = useRef(true);
  /** Of each entry of the history, in CSS pixels. */
  const positions = useRef(new Map<string, number>());
  useWindowEvent("popstate", () => {
    remembers.current = false;
  });
  useWindowEvent("scroll", () => {
    if (remembers.current) positions.current.set(shown.current.entry, window.scrollY);
  });
  useEffect(() => {
    const isNewPage = shown.current.pathname !== pathname;
    shown.current = { pathname, entry };
    remembers.current = true;
    if (!isNewPage) return;
    onNavigation();
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, isReturn ? (positions.current.get(entry) ?? 0) : 0);
  }, [pathname, entry, isReturn, onNavigation]);
  return main;
}
