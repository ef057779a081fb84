// Paths that are the gateway's own: no route has them, and no upstream ever gets them.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// The route of callers who ask how their limits stand; anything else below the reserved path is answered here.
  mutating func matchReserved(
    _ exchange: Int32, _ configuration: Borrowed<LoopConfiguration>
  ) -> Borrowed<RoutePlan>? {
    let ready = Array(RouterSettings.healthPath.utf8)
    if request.bytes(request.path).equals(RawSpan(ready)) {
      answerReady(exchange)
      return nil
    }
    // What a node would answer, the nodes answer behind a router too.
    if configuration.with({ $0.blueprint.isRouter }) { return take(exchange, 0, configuration) }
    let path = Array((RequestHead.reservedPath + "/usage").utf8)
    guard request.bytes(request.path).equals(RawSpan(path)) else {
      refuse(exchange, ProblemCatalogue.noRoute)
      return nil
    }
    guard request.method == .get || request.method == .head else {
      exchanges[exchange].exchange.responseFields.append("Allow: GET, HEAD\r\n")
      refuse(exchange, ProblemCatalogue.methodNotAllowed)
      return nil
    }
    let route = configuration.part { $0.blueprint.usageRoute }
    exchanges[exchange].route = route
    exchanges[exchange].series = Metrics.usageRoute
    exchanges[exchange].hasEndHooks = route.with { $0.chain.hasEndHooks }
    exchanges[exchange].exchange.bodyLimit = route.with { $0.bodyLimit }
    return route
  }

  /// Says whether the node takes requests, for those who share them out: 200 or 503. Asked every second by everybody, it is
  /// neither logged nor counted among the answers.
  private mutating func answerReady(_ exchange: Int32) {
    metrics.add(to: .requestsEnded)
    exchanges[exchange].isRecorded = true
    exchanges[exchange].exchange.replyStatus = node.takesRequests ? 200 : 503
    reply(exchange)
  }
}
