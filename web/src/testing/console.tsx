// The whole console in a test, in front of a control plane that answers in the same process by the real protocol.

import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createConnectRouter } from "@connectrpc/connect";
import { createFetchHandler, type UniversalHandler } from "@connectrpc/connect/protocol";
import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import type { QueryClient } from "@tanstack/react-query";
import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import { createMemoryRouter, RouterProvider } from "react-router";
import { vi } from "vitest";

import { LiveUpdates, LiveUpdatesContext } from "../live";
import { createQueryClient } from "../query-client";
import { createRoutes } from "../routes";
import {
  ProjectRBACPolicy_Action as Action,
  ProjectRBACResource_ResourceType as Resource,
} from "../schema/model/access_pb";
import { ConsoleChange_Kind as Kind, ConsoleService, SeeRightsResponseSchema } from "../schema/pipecd/v1/console_pb";
import { GetMeResponseSchema } from "../schema/web/project_pb";
import { WebService } from "../schema/web/service_pb";
import { type Navigation, Session, SessionContext } from "../session";
import { theme } from "../theme";

type Handler = (request: unknown) => unknown;

const numbers = (names: object): number[] => Object.values(names).filter((value): value is number => typeof value === "number");

/** Of the role Admin. */
const EVERY_RIGHT = create(SeeRightsResponseSchema, {
  rights: numbers(Resource).flatMap((resource) => numbers(Action).map((action) => ({ resource, action }))),
});

/** Answers each call with an empty response, unless there is a handler for its name. */
export class ControlPlane {
  /** The names of all calls so far, except those that open the change feed. */
  readonly calls: string[] = [];
  readonly handlers: Record<string, Handler> = {
    getMe: () => create(GetMeResponseSchema, { subject: this.user, projectId: "quickstart", userId: this.userId || this.user }),
    seeRights: () => EVERY_RIGHT,
  };
  /** Empty if no user is signed in. */
  user = "ada";
  /** The name unless it is given. */
  userId = "";
  readonly #feed = new EventTarget();
  readonly #routes = new Map<string, UniversalHandler>();

  constructor() {
    const router = createConnectRouter();
    for (const service of [WebService, ConsoleService]) {
      const methods = service.methods.filter(({ methodKind }) => methodKind === "unary");
      const implementation = methods.map(({ localName, output }) => [
        localName,
        (request: unknown) => this.#answer(localName, output, request),
      ]);
      router.service(service, Object.fromEntries(implementation) as object);
    }
    for (const handler of router.handlers) this.#routes.set(`/api${handler.requestPath}`, handler);
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => this.#fetch(url, init));
  }

  /** Announces a change to the open pages. */
  announce(kind: Kind, id = ""): void {
    this.#feed.dispatchEvent(new CustomEvent("change", { detail: { kind, id, stageId: "" } }));
  }

  /** The change feed, as `ConsoleService.Watch`. Its first message says that it is open. */
  readonly watch = (): AsyncIterable<{ kind: Kind; id: string; stageId: string }> => {
    const feed = this.#feed;
    const changes: { kind: Kind; id: string; stageId: string }[] = [{ kind: Kind.HEARTBEAT, id: "", stageId: "" }];
    let wake = () => undefined as unknown;
    feed.addEventListener("change", (event) => {
      changes.push((event as CustomEvent<(typeof changes)[number]>).detail);
      wake();
    });
    return (async function* () {
      for (;;) {
        const change = changes.shift();
        if (change) yield change;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    })();
  };

  #answer(name: string, output: DescMessage, request: unknown): unknown {
    this.calls.push(name);
    if (!this.user) throw new ConnectError("sign in", Code.Unauthenticated);
    return this.handlers[name]?.(request) ?? create(output);
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    const handler = this.#routes.get(url);
    if (!handler) return new Response("null", { status: 404 });
    const { method, headers, body } = init;
    return createFetchHandler(handler)(new Request(`http://console${url}`, { method, headers, body }));
  }
}

/** A message of `schema` for a handler. */
export const message = <Desc extends DescMessage>(schema: Desc, fields: MessageInitShape<Desc>): MessageShape<Desc> =>
  create(schema, fields);

export const refuse = (code: Code, text = "refused") => (): never => {
  throw new ConnectError(text, code);
};

export interface OpenConsole {
  client: QueryClient;
  session: Session;
  router: ReturnType<typeof createMemoryRouter>;
  navigation: Navigation;
}

/** Opens the console at `path`, as a new document: with empty caches. */
export function openConsole(plane: ControlPlane, path: string, navigation: Navigation = { reload: vi.fn(), open: vi.fn() }): OpenConsole {
  const client = createQueryClient();
  const session = new Session(client, navigation);
  const router = createMemoryRouter(createRoutes(client), { initialEntries: [path] });
  render(
    <MantineProvider theme={theme} env="test">
      <Notifications />
      <QueryClientProvider client={client}>
        <SessionContext value={session}>
          <LiveUpdatesContext value={new LiveUpdates(client, plane.watch)}>
            <RouterProvider router={router} />
          </LiveUpdatesContext>
        </SessionContext>
      </QueryClientProvider>
    </MantineProvider>,
  );
  return { client, session, router, navigation };
}

/** What browsers have, and jsdom lacks. */
export function stubBrowser(): void {
  vi.stubGlobal("ResizeObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("IntersectionObserver", class { observe() {} unobserve() {} disconnect() {} });
  vi.stubGlobal("matchMedia", () => ({ matches: false, addEventListener() {}, removeEventListener() {} }));
  vi.stubGlobal("scrollTo", () => undefined);
  Element.prototype.scrollIntoView = () => undefined;
}
