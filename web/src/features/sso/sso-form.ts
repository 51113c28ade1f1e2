// The form of single sign-on: from the stored configuration to fields, and back to a request.

import { create } from "@bufbuild/protobuf";

import {
  ProjectSSOConfig_Provider as Provider,
  type ProjectSSOConfig,
  ProjectSSOConfigSchema,
} from "../../schema/model/project_pb";

/** GitHub Enterprise Server is GitHub with a URL. */
export type ProviderKind = "oidc" | "github" | "enterprise";

export interface SsoFields {
  kind: ProviderKind;
  clientId: string;
  clientSecret: string;
  /** Issuer of OpenID Connect, or URL of GitHub Enterprise Server. */
  url: string;
  sessionHours: number | "";
  rolesClaim: string;
  usernameClaim: string;
  scopes: string;
  proxyUrl: string;
}

/** What the control plane sends instead of a credential, and understands as "leave it as it is". */
export const STORED = "redacted";

/** Where the schema has the fields of the form. */
export function pathsOf(kind: ProviderKind): Record<Exclude<keyof SsoFields, "kind">, string> {
  const client = kind === "oidc" ? "sso.oidc" : "sso.github";
  return {
    clientId: `${client}.client_id`,
    clientSecret: `${client}.client_secret`,
    url: kind === "oidc" ? `${client}.issuer` : `${client}.base_url`,
    sessionHours: "sso.session_ttl",
    rolesClaim: `${client}.roles_claim_key`,
    usernameClaim: `${client}.username_claim_key`,
    scopes: `${client}.scopes`,
    proxyUrl: `${client}.proxy_url`,
  };
}

export function fieldsOf(sso: ProjectSSOConfig | undefined): SsoFields {
  const github = sso?.provider === Provider.GITHUB ? sso.github : undefined;
  const oidc = sso?.provider === Provider.OIDC ? sso.oidc : undefined;
  return {
    kind: github ? (github.baseUrl ? "enterprise" : "github") : "oidc",
    clientId: "",
    clientSecret: "",
    url: github?.baseUrl ?? oidc?.issuer ?? "",
    sessionHours: Number(sso?.sessionTtl ?? 0) || "",
    rolesClaim: oidc?.rolesClaimKey ?? "",
    usernameClaim: oidc?.usernameClaimKey ?? "",
    scopes: oidc?.scopes.join(" ") ?? "",
    proxyUrl: github?.proxyUrl ?? oidc?.proxyUrl ?? "",
  };
}

/** Whether the credentials of `stored` may stay: they are those of the same kind of provider. */
export function keepsClient(fields: SsoFields, stored: ProjectSSOConfig | undefined): boolean {
  if (!stored) return false;
  return fields.kind === "oidc" ? stored.provider === Provider.OIDC : stored.provider === Provider.GITHUB;
}

export function isComplete(fields: SsoFields, stored: ProjectSSOConfig | undefined): boolean {
  const client = keepsClient(fields, stored) || (fields.clientId.trim() !== "" && fields.clientSecret !== "");
  return client && (fields.kind === "github" || fields.url.trim() !== "");
}

/** The configuration for the control plane. What the form does not show stays as it is in `stored`. */
export function configOf(fields: SsoFields, stored: ProjectSSOConfig | undefined): ProjectSSOConfig {
  const client = {
    clientId: fields.clientId.trim() || STORED,
    clientSecret: fields.clientSecret || STORED,
    proxyUrl: fields.proxyUrl.trim(),
  };
  const common = { sessionTtl: BigInt(fields.sessionHours || 0) };
  if (fields.kind !== "oidc") {
    const baseUrl = fields.kind === "enterprise" ? fields.url.trim() : "";
    return create(ProjectSSOConfigSchema, { ...common, provider: Provider.GITHUB, github: { ...client, baseUrl } });
  }
  const { oidc } = stored ?? {};
  return create(ProjectSSOConfigSchema, {
    ...common,
    provider: Provider.OIDC,
    oidc: {
      ...client,
      issuer: fields.url.trim(),
      rolesClaimKey: fields.rolesClaim.trim(),
      usernameClaimKey: fields.usernameClaim.trim(),
      scopes: fields.scopes.split(/\s+/).filter(Boolean),
      redirectUri: oidc?.redirectUri ?? "",
      authorizationEndpoint: oidc?.authorizationEndpoint ?? "",
      tokenEndpoint: oidc?.tokenEndpoint ?? "",
      userInfoEndpoint: oidc?.userInfoEndpoint ?? "",
      avatarUrlClaimKey: oidc?.avatarUrlClaimKey ?? "",
    },
  });
}
