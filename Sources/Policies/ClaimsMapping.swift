import Core
import Pipeline

/// What the claims of a token mean: whom it stands for.
struct ClaimsMapping: Sendable {
  private let tenant: String?
  private let paths: ClaimPaths

  init(_ options: inout OptionReader) {
    tenant = options.optionalString("tenant", "The tenant of all its subjects.")
    paths = options.section("claims", "Where its tokens say what, if not as usual.") { ClaimPaths(&$0) }
    if tenant != nil, paths.tenant != nil {
      options.fail("the tenant is fixed", at: "tenant", fix: "remove it, or claims.tenant")
    }
  }

  /// Whom a good token stands for, of which `issuer` is responsible.
  func parts(of token: TokenClaims, issuer: String, signingKey: String? = nil) -> Identity.Parts {
    let claims = token.root
    var parts = Identity.Parts()
    parts.issuer = issuer
    parts.subject = paths.subject.value(in: claims)?.string
    parts.client = paths.client.lazy.compactMap { $0.value(in: claims)?.string }.first
    parts.tenant = tenant ?? paths.tenant.flatMap { $0.value(in: claims)?.string }
    parts.roles = paths.roles.list(in: claims)
    parts.groups = paths.groups.list(in: claims)
    parts.scopes = paths.scopes.lazy.map { $0.list(in: claims) }.first { !$0.isEmpty } ?? []
    parts.claims = token.document
    parts.tokenID = claims["jti"]?.string
    parts.session = claims["sid"]?.string
    parts.signingKey = signingKey
    parts.issued = token.issued
    return parts
  }

  /// What the consumer is called that a token stands for; nil where none is wanted, empty where this token names none.
  func consumer(of token: TokenClaims) -> String? {
    paths.consumer.map { $0.value(in: token.root)?.string ?? "" }
  }
}

/// Where tokens say what.
private struct ClaimPaths: Sendable {
  let subject: ClaimPath
  let client: [ClaimPath]
  let roles: ClaimPath
  let groups: ClaimPath
  let scopes: [ClaimPath]
  let tenant: ClaimPath?
  let consumer: ClaimPath?

  init(_ options: inout OptionReader) {
    func path(_ key: String, _ help: String) -> ClaimPath? {
      options.optionalValue(key, ClaimPath.format, help) { ClaimPath($0) }
    }
    func known(_ names: String...) -> [ClaimPath] { names.compactMap { ClaimPath($0) } }
    subject =
      path("subject", "Whom it means; sub by default. No two people may ever have the same.") ?? known("sub")[0]
    client =
      path("client", "The program that acts; client_id or azp by default.").map { [$0] } ?? known("client_id", "azp")
    roles =
      path("roles", "Roles, a list; roles by default. \"realm_access.roles\" with Keycloak.") ?? known("roles")[0]
    groups = path("groups", "Groups, a list; groups by default.") ?? known("groups")[0]
    scopes = path("scopes", "Scopes, a list or words; scope or scp by default.").map { [$0] } ?? known("scope", "scp")
    tenant = path("tenant", "The subject's tenant, named as under tenants.")
    consumer = path(
      "consumer",
      "The consumer of the configuration that a token stands for: its limits, groups and tenant hold. A token of nobody "
        + "there is refused.")
  }
}
