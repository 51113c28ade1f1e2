// Keyboard shortcuts of one key, or of `g` followed by another key.

import { useLocalStorage } from "@mantine/hooks";
import { useEffect, useRef } from "react";

import type { PAGE_ICONS } from "../../page-icons";
import { forbiddenPage } from "../../page-rights";
import { useMay } from "../../use-may";

export interface Shortcut {
  /** One key, or two separated by a space, as `KeyboardEvent.key` names them. */
  keys: string;
  text: string;
}

const PAGE_SHORTCUTS: readonly (Shortcut & { to: keyof typeof PAGE_ICONS })[] = [
  { keys: "g a", text: "Applications", to: "/applications" },
  { keys: "g d", text: "Deployments", to: "/deployments" },
  { keys: "g n", text: "Needs attention", to: "/attention" },
  { keys: "g i", text: "Insights", to: "/insights" },
  { keys: "g p", text: "Pipeds", to: "/pipeds" },
];
export const SEARCH: Shortcut = { keys: "/", text: "Search the list, or everything" };
export const HELP: Shortcut = { keys: "?", text: "Show the keyboard shortcuts" };
export const PALETTE_KEYS = ["mod + K"];

/** Of the pages that the user's roles include. */
export function usePageShortcuts() {
  const may = useMay();
  return PAGE_SHORTCUTS.filter(({ to }) => !forbiddenPage(may, to));
}

/** A second key must follow within this time. */
const SEQUENCE_MS = 1_500;

/** The keys pressed so far that may become one of `shortcuts`, and the one that is complete. */
export function press(
  pending: string,
  key: string,
  shortcuts: readonly string[],
): { pending: string; complete: string | null } {
  for (const keys of pending ? [`${pending} ${key}`, key] : [key]) {
    if (shortcuts.includes(keys)) return { pending: "", complete: keys };
    if (shortcuts.some((shortcut) => shortcut.startsWith(`${keys} `))) return { pending: keys, complete: null };
  }
  return { pending: "", complete: null };
}

/** Whether shortcuts of single keys are enabled in this browser: they can disturb speech input. */
export function useShortcutsEnabled() {
  return useLocalStorage({ key: "pipecd:shortcuts", defaultValue: true, getInitialValueInEffect: false });
}

/** Calls the handler of a shortcut, unless the user is typing or a dialog is open. */
export function useShortcuts(handlers: Readonly<Record<string, () => void>>, enabled: boolean): void {
  const latest = useRef(handlers);
  useEffect(() => {
    latest.current = handlers;
  });
  useEffect(() => {
    if (!enabled) return undefined;
    let pending = "";
    let pressedAt = 0;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      const before = event.timeStamp - pressedAt < SEQUENCE_MS ? pending : "";
      const result = press(before, event.key, Object.keys(latest.current));
      pending = result.pending;
      pressedAt = event.timeStamp;
      if (!result.complete) return;
      event.preventDefault();
      latest.current[result.complete]?.();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [enabled]);
}

/** Inputs that take no text keep the focus after a click: letters mean nothing to them. */
const WITHOUT_TEXT = ["checkbox", "radio", "button", "submit", "reset"];

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !WITHOUT_TEXT.includes(target.type);
  return target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName);
}
