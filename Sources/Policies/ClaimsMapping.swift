import Core
import Pipeline

/// A policy that knows callers by what somebody else says of them.
public protocol ClaimsPolicy: RequestHook {
  /// Whom these claims would stand for, which nobody has verified, and what the rule that must hold of them makes of that, where
  /// there is one: for operators. Nil where nobody vouches for anybody.
  func explain(_ claims: JSONDocument, _ services: Services) -> (identity: Identity, requirement: Access.Explanation?)?
}

/// What the claims of a token mean: whom it stands for.
struct ClaimsMapping: Sendable {
  private let tenant: String?
  private let paths: ClaimPaths
  /// What must hold of whom a token stands for.
  private let required: AccessRule?

  init(_ options: inout OptionReader) {
    tenant = options.optionalString("tenant", "The tenant of all its subjects.")
    paths = options.section("claims", "Where its tokens say what, if not as usual.") { ClaimPaths(&$0) }
    let required = options.rule(
      "require",
      "A rule, as those of access, over what the token says: role, group, scope, tenant, subject, issuer, client and claim. "
        + "Whoever it does not hold for is refused.")
    self.required = required
    if let required, !required.isAboutIdentity {
      options.fail(
        "this asks for more than a token says", at: "require", fix: "move what is about the request to an access policy"
      )
    }
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
    parts.plan = paths.plan.flatMap { $0.value(in: claims)?.string }
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

  /// Whom claims of `issuer` stand for, and what the rule makes of that.
  func explain(
    _ claims: TokenClaims, issuer: String, _ services: Services
  ) -> (identity: Identity, requirement: Access.Explanation?) {
    let identity = Identity(parts(of: claims, issuer: issuer), services)
    return (identity, explain(identity, services))
  }

  private func explain(_ identity: Identity, _ services: Services) -> Access.Explanation? {
    guard let required else { return nil }
    let nothing: [UInt8] = []
    let explanation = required.explain(RuleFacts(identity, RawSpan(nothing), time: services.world.wallTime))
    return Access.Explanation(
      isAllowed: explanation.holds, problem: explanation.holds ? nil : ProblemCatalogue.accessDenied,
      decidedBy: explanation.holds ? "require" : nil, rules: [("require", true, explanation)])
  }

  /// Whom a token stands for, and the consumer of the configuration, -1 for none. Throws where nobody may be that.
  func caller(
    of token: TokenClaims, _ parts: Identity.Parts, _ services: Services
  ) throws(TokenFault) -> (identity: Identity, consumer: Int32) {
    let identity = Identity(parts, services)
    if let required {
      let nothing: [UInt8] = []
      guard required.holds(RuleFacts(identity, RawSpan(nothing), time: services.world.wallTime)) else {
        throw .refused(ProblemCatalogue.accessDenied)
      }
    }
    guard let path = paths.consumer else { return (identity, -1) }
    let consumer = services.keyRing.index(ofConsumer: path.value(in: token.root)?.string ?? "")
    guard consumer >= 0 else { throw .refused(ProblemCatalogue.consumerNotAllowed) }
    return (identity, consumer)
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
  let plan: ClaimPath?
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
    plan = path("plan", "The subject's usage plan, named as a policy plan names it; its consumer's own comes first.")
    consumer = path(
      "consumer",
      "The consumer of the configuration that a token stands for: its limits, groups and tenant hold. A token of nobody "
        + "there is refused.")
  }
}
