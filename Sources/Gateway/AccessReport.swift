import Core
import HTTP
import Pipeline
import Policies

/// What the access rules of a route make of a request that somebody might send.
struct AccessReport {
  private let explanations: [Access.Explanation]
  /// Whether its claims are no object of JSON.
  private let isMalformed: Bool

  /// The report on a request of `subject`.
  init(_ route: RoutePlan, _ sent: Inquiry.Request, _ subject: UsageSubject, _ services: Services) {
    var identity: Identity?
    var isMalformed = false
    var requirement: Access.Explanation?
    if let claims = sent.claims {
      let outcome = JSONDocument.parse(claims, dialect: .strict)
      if outcome.faults.isEmpty, let document = outcome.document, document.root.kind == .object {
        let found = route.claimsPolicies.first?.explain(document, services)
        (identity, requirement) = (found?.identity, found?.requirement)
      } else {
        isMalformed = true
      }
    }
    self.isMalformed = isMalformed
    let (method, path) = (Array(sent.method.utf8), Array(sent.path.prefix { $0 != "?" }.utf8))
    let (host, name) = (Array(sent.host.lowercased().utf8), Array(route.id.utf8))
    var facts = RuleFacts(
      method: Method.of(RawSpan(method)), methodText: RawSpan(method), path: RawSpan(path), host: RawSpan(host),
      route: RawSpan(name), address: subject.address, time: services.world.wallTime)
    if let identity { facts.identity = Borrowed(identity) }
    facts.setConsumer(subject.consumer, services)
    var explanations = requirement.map { [$0] } ?? []
    for policy in route.chain.requestPolicies(of: Access.self) { explanations.append(policy.explain(facts)) }
    self.explanations = explanations
    withExtendedLifetime(identity) {}
  }

  /// Why the rules refuse it, or cannot be asked; nil where they do not.
  var refusal: LimitVerdict? {
    if isMalformed { return LimitVerdict("unknown", nil, "The claims are no object of JSON.") }
    guard let refusing = explanations.first(where: { !$0.isAllowed }) else { return nil }
    let sentence: String
    if let decisive = refusing.rules.first(where: { $0.name == refusing.decidedBy }) {
      sentence = "It would be refused by the rule \"\(decisive.name)\": \(decisive.explanation.reason)."
    } else {
      let reasons = refusing.rules.filter(\.allows).map { "\"\($0.name)\": \($0.explanation.reason)" }
      sentence =
        "It would be refused, since no rule lets it pass"
        + (reasons.isEmpty ? "." : "; \(reasons.joined(separator: "; ")).")
    }
    return LimitVerdict("refused", refusing.problem, sentence)
  }

  /// Adds a member `rules` with every rule, where there are any.
  func write(to json: inout JSONWriter) {
    guard !explanations.isEmpty else { return }
    json.key("rules")
    json.beginArray()
    for rule in explanations.flatMap(\.rules) {
      json.beginObject()
      json.member("name", rule.name)
      json.key("allows")
      json.bool(rule.allows)
      json.key("holds")
      json.bool(rule.explanation.holds)
      json.member("reason", rule.explanation.reason)
      json.key("terms")
      json.beginArray()
      for term in rule.explanation.terms {
        json.beginObject()
        json.member("text", term.text)
        json.member("found", term.found)
        json.key("holds")
        json.bool(term.holds)
        json.key("decisive")
        json.bool(term.isDecisive)
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
  }
}

extension RoutePlan {
  /// The policies that know callers by claims, those in a choice too.
  fileprivate var claimsPolicies: [any ClaimsPolicy] {
    func all<Kind: ClaimsPolicy>(_ type: Kind.Type) -> [any ClaimsPolicy] {
      chain.requestPolicies(of: type) + chain.requestPolicies(of: AnyOf.self).flatMap { $0.ways(of: type) }
    }
    return all(JWT.self) + all(OAuth2Introspection.self) + all(OIDCLogin.self)
  }
}
