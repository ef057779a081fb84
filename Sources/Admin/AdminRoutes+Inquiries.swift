import Core
import Gateway
import HTTP
import Pipeline

extension AdminRoute {
  /// How limits stand: of a consumer, or for a request that somebody might send.
  ///
  /// `inquire` is called on the admin thread; the inquiry is answered on a loop's.
  public static func inquiries(_ inquire: @escaping @Sendable (Inquiry) -> Void) -> [AdminRoute] {
    [usage(inquire), explanation(inquire)]
  }

  private static let address = Parameter("ip", .address, "An address, for limits by address.")
  private static let problem = "application/problem+json"
  private static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

  private static func usage(_ inquire: @escaping @Sendable (Inquiry) -> Void) -> AdminRoute {
    AdminRoute(
      .get, "/v1/usage/{consumer}", role: .viewer, isForTenants: true, operation: "getUsage",
      summary: "What a consumer has used of each limit, and what is left.",
      parameters: [Parameter("consumer", .name, isInPath: true, "The consumer's id."), address],
      outcomes: [
        Outcome(200, "How the limits stand.", "application/json", schema: "Usage"),
        Outcome(404, "There is no such consumer.", problem, schema: "Problem"),
      ],
      handler: .later { request, reply in
        ask(inquire, request, reply) { address in
          .usage(consumer: request.parameters["consumer"] ?? "", address: address, tenant: request.caller?.tenant)
        }
      })
  }

  private static func explanation(_ inquire: @escaping @Sendable (Inquiry) -> Void) -> AdminRoute {
    AdminRoute(
      .get, "/v1/explain", role: .viewer, operation: "explain",
      summary:
        "How a request would be decided now, by rules and limit by limit, or why one was refused. Nothing is taken.",
      parameters: [
        Parameter("decision", .decision, "The id of a refusal; then nothing else is needed."),
        Parameter("route", .name, "The route's id."),
        Parameter("consumer", .name, "The consumer's id; left out, nobody's."),
        Parameter("key", .name, "The id of the consumer's key; left out, the first."), address,
        Parameter("method", .word(methods), "What the request asks for, for access rules; left out, GET."),
        Parameter("path", .text(most: 512), "Its path; left out, /."),
        Parameter("host", .name, "The host that it names."),
        Parameter("claims", .text(most: 2_048), "What the caller's token says, an object of JSON."),
      ],
      outcomes: [
        Outcome(200, "The decision.", "application/json", schema: "Explanation"),
        Outcome(404, "There is no such route, consumer or key, or nobody remembers.", problem, schema: "Problem"),
      ],
      handler: .later { request, reply in
        if let text = request.parameter("decision") {
          guard let decision = DecisionID(text: text) else {
            return reply(.problem(AdminProblem.malformedParameter, request.decision))
          }
          return ask(inquire, request, reply) { _ in .refusal(decision) }
        }
        guard let route = request.parameter("route") else {
          return reply(.problem(AdminProblem.routeNeeded, request.decision))
        }
        var sent = Inquiry.Request()
        sent.method = request.parameter("method") ?? sent.method
        sent.path = request.parameter("path") ?? sent.path
        sent.host = request.parameter("host") ?? sent.host
        sent.claims = request.parameter("claims").map { Array($0.utf8) }
        ask(inquire, request, reply) { [sent] address in
          .route(
            route, consumer: request.parameter("consumer"), key: request.parameter("key"), address: address,
            request: sent)
        }
      })
  }

  private static func ask(
    _ inquire: @Sendable (Inquiry) -> Void, _ request: AdminRequest, _ reply: AdminReply,
    _ topic: (IPAddress?) -> Inquiry.Topic
  ) {
    var address: IPAddress?
    if let text = request.parameter("ip") {
      guard let known = IPAddress(text) else {
        return reply(.problem(AdminProblem.malformedParameter, request.decision))
      }
      address = known
    }
    let decision = request.decision
    let topic = topic(address)
    let isOfDecision = if case .refusal = topic { true } else { false }
    inquire(
      Inquiry(topic) { answer in
        switch answer {
        case .document(let bytes): reply(AdminResponse(contentType: "application/json", body: bytes))
        case .unknown where isOfDecision: reply(.problem(AdminProblem.decisionUnknown, decision))
        case .unknown: reply(.problem(AdminProblem.notConfigured, decision))
        case .consumerNeeded: reply(.problem(AdminProblem.consumerNeeded, decision))
        case .busy: reply(.problem(AdminProblem.noAnswer, decision))
        }
      })
  }
}
