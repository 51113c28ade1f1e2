// The browser's side of notifications: permission, showing one, and choosing the one tab that shows them.

import { useCallback, useEffect, useEffectEvent, useRef, useState, useSyncExternalStore } from "react";

import type { Notice } from "./notices";

/** `unsupported`: the browser has none, or the page was not loaded over HTTPS. */
export type Permission = NotificationPermission | "unsupported";

export function currentPermission(): Permission {
  return "Notification" in window && window.isSecureContext ? Notification.permission : "unsupported";
}

const listeners = new Set<() => void>();

/** Follows changes by `requestPermission`, and those that a user makes in the browser's settings. */
export function usePermission(): Permission {
  return useSyncExternalStore(subscribe, currentPermission);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  // The user may have changed the browser's settings meanwhile.
  window.addEventListener("focus", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("focus", listener);
  };
}

/** Asks the user. Only after a click: browsers ignore or block other requests. */
export async function requestPermission(): Promise<Permission> {
  if (currentPermission() === "unsupported") return "unsupported";
  const permission = await Notification.requestPermission();
  for (const listener of listeners) listener();
  return permission;
}

/** Shows a notice. The browser replaces an earlier one with the same ID, also one of another tab. */
export function showNotice(notice: Notice, open: (to: string) => void): void {
  try {
    const shown = new Notification(notice.title, { body: notice.body, tag: notice.id, icon: "/favicon.svg" });
    shown.addEventListener("click", () => {
      window.focus();
      open(notice.to);
      shown.close();
    });
  } catch {
    // Chrome on Android has the constructor, but it throws: it shows notifications of service workers only.
  }
}

/** Calls `onShown` with the IDs of notices that other tabs announce by the function that is returned. */
export function useShownElsewhere(name: string, enabled: boolean, onShown: (id: string) => void): (id: string) => void {
  const channel = useRef<BroadcastChannel | null>(null);
  const handle = useEffectEvent(onShown);
  useEffect(() => {
    if (!enabled) return undefined;
    const opened = new BroadcastChannel(name);
    channel.current = opened;
    opened.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      if (typeof data === "string") handle(data);
    });
    return () => {
      channel.current = null;
      opened.close();
    };
  }, [name, enabled]);
  return useCallback((id) => channel.current?.postMessage(id), []);
}

/** Whether this tab holds the lock `name`, which one tab of the browser holds at a time while it is open. */
export function useIsLeader(name: string, enabled: boolean): boolean {
  const [leads, setLeads] = useState(false);
  useEffect(() => {
    if (!enabled || !("locks" in navigator)) return undefined;
    const waiting = new AbortController();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    navigator.locks
      .request(name, { signal: waiting.signal }, async () => {
        if (waiting.signal.aborted) return;
        setLeads(true);
        await held;
      })
      .catch(() => undefined);
    return () => {
      waiting.abort();
      release();
      setLeads(false);
    };
  }, [name, enabled]);
  return leads;
}
