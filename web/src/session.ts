// The user that this document belongs to. What was loaded for a user is in many places of the document's memory, and some
// of it continues to request more: when the session ends, or another user signs in, in this tab or another one, the page is
// loaded again, so that nothing of it remains.

import { hashKey, type QueryClient } from "@tanstack/react-query";
import { createContext, useContext } from "react";

import { key } from "./queries";
import type { GetMeResponse } from "./schema/web/project_pb";
import { signOut } from "./sign-in";

const ME = hashKey(key.me);
const CHANNEL = "pipecd.session";
/** In the storage of the tab: why the login page is shown. */
const NOTICE = "pipecd.session-notice";

const NOTICES = {
  "signed-out": "You are signed out.",
  ended: "Your session has ended. Sign in to continue where you were.",
} as const;

/** What a tab says to the others. */
interface Message {
  user: string;
  signedIn: boolean;
}

export interface Navigation {
  reload: () => void;
  /** Replaces the document by that of `path`. */
  open: (path: string) => void;
}

const NAVIGATION: Navigation = {
  reload: () => window.location.reload(),
  open: (path) => window.location.replace(path),
};

export class Session {
  /** The ID of the user, who may share name and picture with another one; empty until it is known. */
  #user = "";
  #isOver = false;
  readonly #channel = new BroadcastChannel(CHANNEL);
  readonly #signInListeners = new Set<() => void>();

  constructor(client: QueryClient, private readonly navigation: Navigation = NAVIGATION) {
    client.getQueryCache().subscribe(({ type, query }) => {
      if (type === "updated" && query.queryHash === ME) this.#follow(query.state.data as GetMeResponse | null | undefined);
    });
    this.#channel.addEventListener("message", ({ data }: MessageEvent<Message>) => this.#hear(data));
    // Of a document that the browser kept, also the memory is kept.
    window.addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.navigation.reload();
    });
  }

  /** Whether the page is being loaded again, because its user is no longer the one who is signed in. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Ends the session on the server. Returns an empty string on success, else the error message. */
  async signOut(): Promise<string> {
    const problem = await signOut();
    if (!problem) this.#end("signed-out");
    return problem;
  }

  /** Opens a page after a user has signed in: in a new document, because this one may belong to another user. */
  open(path: string): void {
    this.navigation.open(path);
  }

  /** Calls `listener` when a user has signed in in another tab, and none in this one. */
  onSignInElsewhere(listener: () => void): () => void {
    this.#signInListeners.add(listener);
    return () => this.#signInListeners.delete(listener);
  }

  close(): void {
    this.#channel.close();
  }

  #follow(me: GetMeResponse | null | undefined): void {
    if (me === undefined) return;
    // During an upgrade, a replica of an earlier version does not know IDs.
    if (me && !me.userId) return;
    const user = me?.userId ?? "";
    if (user === this.#user) return;
    if (!me) this.#end("ended");
    else if (this.#user) this.#leave();
    else {
      this.#user = user;
      sessionStorage.removeItem(NOTICE);
      this.#tell({ user, signedIn: true });
    }
  }

  #hear({ user, signedIn }: Message): void {
    if (signedIn && !this.#user) for (const listener of this.#signInListeners) listener();
    else if (signedIn && user !== this.#user) this.#leave();
    else if (!signedIn && user === this.#user) this.#end("ended");
  }

  #end(notice: keyof typeof NOTICES): void {
    if (this.#isOver) return;
    sessionStorage.setItem(NOTICE, notice);
    this.#tell({ user: this.#user, signedIn: false });
    this.#leave();
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.navigation.reload();
  }

  #tell(message: Message): void {
    this.#channel.postMessage(message);
  }
}

/** Why the login page is shown, if it is because a session ended in this tab, until `forgetSessionNotice`. */
export function sessionNotice(): string {
  const notice = sessionStorage.getItem(NOTICE) ?? "";
  return notice in NOTICES ? NOTICES[notice as keyof typeof NOTICES] : "";
}

export function forgetSessionNotice(): void {
  sessionStorage.removeItem(NOTICE);
}

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("no SessionContext above this component");
  return session;
}
