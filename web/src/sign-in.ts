// Signs in by the project's provider, or as its static administrator, and out. The server answers every attempt with a redirect;
// the reason for a rejection is in the cookie `error`.

export interface Credentials {
  project: string;
  username: string;
  password: string;
}

const ERROR_COOKIE = "error";

/** Returns an empty string on success, else the error message. */
export async function signIn(credentials: Credentials): Promise<string> {
  consumeErrorCookie();
  let response: Response;
  try {
    response = await fetch("/auth/login/static", {
      method: "POST",
      body: new URLSearchParams({ ...credentials }),
      redirect: "manual",
    });
  } catch {
    return "The control plane does not answer. Check that it is running.";
  }
  const error = consumeErrorCookie();
  if (error) return error;
  if (response.type === "opaqueredirect" || response.ok) return "";
  if (response.status === 401 || response.status === 403) return "The project, the user name or the password is wrong.";
  if (response.status === 429) return "Too many attempts. Wait a minute and try again.";
  return `The control plane could not process the login (HTTP ${response.status}). See its log for details.`;
}

/** Ends the session. Returns an empty string on success, else the error message. */
export async function signOut(): Promise<string> {
  let response: Response;
  try {
    response = await fetch("/auth/logout", { method: "POST", redirect: "manual" });
  } catch {
    return "The control plane does not answer. You are still signed in.";
  }
  if (response.type === "opaqueredirect" || response.ok) return "";
  return `The control plane could not end the session (HTTP ${response.status}). You are still signed in.`;
}

/** The provider of single sign-on of a project. */
export interface Provider {
  title: string;
}

/** Returns null if the project has no single sign-on, or does not exist. */
export async function fetchProvider(project: string, signal: AbortSignal): Promise<Provider | null> {
  const response = await fetch(`/auth/provider?${new URLSearchParams({ project }).toString()}`, { signal });
  return response.ok ? ((await response.json()) as Provider | null) : null;
}

/**
 * `address` as a path of this console, or `otherwise`: a crafted link must not lead to another site after login. It is
 * read as the browser would, which for example ignores tabs in addresses, and takes `/\` for `//`.
 */
export function localPath(address: string | null, otherwise: string): string {
  const { origin } = window.location;
  const url = address?.startsWith("/") && URL.canParse(address, origin) ? new URL(address, origin) : null;
  if (url?.origin !== origin || url.pathname.startsWith("//")) return otherwise;
  return url.pathname + url.search + url.hash;
}

/** The link that starts a sign-in by the provider, and afterwards leads to the path `next`. */
export function ssoLink(project: string, next: string): string {
  return `/auth/login?${new URLSearchParams({ project, next }).toString()}`;
}

/** Returns the last login error set by the server, and deletes its cookie. */
export function consumeErrorCookie(): string {
  const error = parseErrorCookie(document.cookie);
  if (error) document.cookie = `${ERROR_COOKIE}=; Path=/; Max-Age=0; SameSite=Lax`;
  return error;
}

/** The percent-decoded error cookie. Also accepts the quotes and octal escapes of Python's http.cookies. */
export function parseErrorCookie(cookies: string): string {
  const cookie = cookies.split("; ").find((pair) => pair.startsWith(`${ERROR_COOKIE}=`));
  const value = cookie?.slice(ERROR_COOKIE.length + 1).replace(/^"(.*)"$/, "$1") ?? "";
  const text = value.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}
