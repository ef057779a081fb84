import Core
import HTTP
import Pipeline
import Policies

/// What the access rules of a route, and the caller's plan, make of a request that somebody might send.
struct AccessReport {
  /// Who it would be by its claims; nil for nobody.
  let identity: Identity?
  private let explanations: [Access.Explanation]
  /// What the caller's plan says; nil where the route has no plans.
  private let plan: UsagePlans.Explanation?
  /// Whether its claims are no object of JSON.
  private let isMalformed: Bool
  /// Whether the route is a tenant's, and the caller another's or nobody's.
  private let isOthers: Bool

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
    self.identity = identity
    let (method, path) = (Array(sent.method.utf8), Array(sent.path.prefix { $0 != "?" }.utf8))
    let (host, name) = (Array(sent.host.lowercased().utf8), Array(route.id.utf8))
    var facts = RuleFacts(
      method: Method.of(RawSpan(method)), methodText: RawSpan(method), path: RawSpan(path), host: RawSpan(host),
      route: RawSpan(name), address: subject.address, time: services.world.wallTime)
    let isKnown = subject.consumer >= 0 || identity != nil
    let tenants = [subject.consumer >= 0 ? services.consumer(subject.consumer).tenant : nil, identity?.tenant]
    isOthers = isKnown && route.tenant != nil && Set(tenants.compactMap(\.self)) != [route.tenant]
    if let identity { facts.identity = Borrowed(identity) }
    facts.setConsumer(subject.consumer, services)
    var explanations = requirement.map { [$0] } ?? []
    for policy in route.chain.requestPolicies(of: Access.self) { explanations.append(policy.explain(facts)) }
    self.explanations = explanations
    var known = subject
    known.identity = identity
    let caller = known.candidate(route: -1, isIdentified: route.chain.identifiesCallers, key: subject.key).caller
    plan = route.chain.requestPolicies(of: UsagePlans.self).first?.explain(caller, facts, services)
    withExtendedLifetime(identity) {}
  }

  /// Why the rules refuse it, or cannot be asked; nil where they do not.
  var refusal: LimitVerdict? {
    if isMalformed { return LimitVerdict("unknown", nil, "The claims are no object of JSON.") }
    if isOthers {
      let sentence = "It would be refused: the route belongs to a tenant, and whoever calls does not."
      return LimitVerdict("refused", ProblemCatalogue.otherTenant, sentence)
    }
    guard let refusing = explanations.first(where: { !$0.isAllowed }) else { return planRefusal }
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

  private var planRefusal: LimitVerdict? {
    guard let plan, let problem = plan.problem else { return nil }
    if let name = plan.plan, let rule = plan.rule {
      return LimitVerdict("refused", problem, "It would be refused by the plan \"\(name)\": \(rule.reason).")
    }
    return LimitVerdict("refused", problem, "It would be refused: \(problem.detail)")
  }

  /// Adds the caller's `plan`, where it has one, and a member `rules` with every rule, where there are any.
  func write(to json: inout JSONWriter) {
    if let name = plan?.plan { json.member("plan", name) }
    var rules = explanations.flatMap(\.rules)
    if let plan, let name = plan.plan, let rule = plan.rule { rules.append(("plan \(name)", true, rule)) }
    guard !rules.isEmpty else { return }
    json.key("rules")
    json.beginArray()
    for rule in rules {
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
