// Which of a route's upstreams a request goes to, where there are several.

import Core
import Pipeline
import Traffic

extension RequestFlow {
  /// The index of the upstream for a request; −1 where there is none, and the request has been answered.
  mutating func upstreamIndex(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>
  ) -> Int32 {
    if route.with({ !$0.choices.isEmpty }), let index = upstreamByRule(exchange, route, configuration) { return index }
    return route.with { upstreamIndex(exchange, $0.action) }
  }

  /// The upstream of the first rule that holds of a request; nil where none does.
  @inline(never)
  private mutating func upstreamByRule(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>
  ) -> Int32? {
    let (services, choices) = (configuration.with { $0.services }, route.with { $0.choices })
    let (name, request) = (services.routes[exchanges[exchange].exchange.route], request)
    let facts = RuleFacts(exchanges[exchange].exchange, request, route: RawSpan(name), services)
    return choices.first { $0.rule.holds(facts) }?.upstream
  }

  /// The index of one of several upstreams; −1 where there is none, and the request has been answered.
  private mutating func upstreamIndex(_ exchange: Int32, _ action: RouteAction) -> Int32 {
    switch action {
    case .forward(let split, let sticky?): return split.pick(stickyHash: affinityHash(exchange, sticky))
    case .forward(let split, nil): return split.pick(random: loop.random())
    case .redirect(let redirect): answer(exchange, redirect)
    case .answer: refuse(exchange, ProblemCatalogue.noRoute)
    }
    return -1
  }
}
