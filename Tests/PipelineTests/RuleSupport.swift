import Core
import Crypto
import HTTP
import Pipeline
import Testing

/// Who calls, and what for, as tests write it.
struct RuleCase {
  var identity: Identity?
  var consumer: Consumer?
  var method = "GET"
  var path = "/"
  var host = "api.example.com"
  var route = "orders"
  var address: String? = "192.0.2.7"
  /// A Wednesday, 12:30 in UTC.
  var time = "2026-03-04T12:30:00Z"

  /// Somebody of whom an issuer says this.
  static func identity(
    issuer: String? = nil, subject: String? = nil, client: String? = nil, tenant: String? = nil, roles: [String] = [],
    groups: [String] = [], scopes: [String] = [], claims: JSONDocument? = nil
  ) -> Identity {
    var parts = Identity.Parts()
    (parts.issuer, parts.subject, parts.client, parts.tenant) = (issuer, subject, client, tenant)
    (parts.roles, parts.groups, parts.scopes, parts.claims) = (roles, groups, scopes, claims)
    return Identity(parts, subjectKey: SipKey(low: 1, high: 2), markKey: nil)
  }

  /// Somebody with these claims.
  static func claims(_ text: String, tenant: String? = nil) -> RuleCase {
    let outcome = JSONDocument.parse(Array(text.utf8), dialect: .strict)
    return RuleCase(identity: identity(tenant: tenant, claims: outcome.faults.isEmpty ? outcome.document : nil))
  }

  private func withFacts<Result>(_ body: (borrowing RuleFacts) -> Result) -> Result {
    let (method, path) = (Array(method.utf8), Array(path.utf8))
    let (host, route) = (Array(host.utf8), Array(route.utf8))
    var facts = RuleFacts(
      method: Method.of(RawSpan(method)), methodText: RawSpan(method), path: RawSpan(path), host: RawSpan(host),
      route: RawSpan(route), address: address.flatMap { IPAddress($0) },
      time: WallTime(rfc3339: time) ?? WallTime(microseconds: 0))
    // The case keeps it.
    facts.identity = identity.map { Borrowed($0) }
    if let consumer { facts.setConsumer(consumer) }
    return body(facts)
  }

  /// Whether a rule holds here.
  func holds(_ text: String, zone: TimeZoneTable = .utc) throws -> Bool {
    let rule = try AccessRule(text, zone: zone)
    let holds = withFacts { rule.holds($0) }
    // Whoever explains must not come to another end.
    #expect(withFacts { rule.explain($0) }.holds == holds, "\(text)")
    return holds
  }

  func explain(_ text: String) throws -> RuleExplanation {
    let rule = try AccessRule(text)
    return withFacts { rule.explain($0) }
  }

  func blame(_ text: String) throws -> RuleBlame {
    let rule = try AccessRule(text)
    return withFacts { rule.blame($0) }
  }
}

/// What is wrong with a rule: `column: message; fix`; nil where nothing is.
func fault(_ text: String) -> String? {
  do throws(RuleFault) {
    _ = try AccessRule(text)
    return nil
  } catch { return "\(error.column): \(error.message); \(error.fix)" }
}
