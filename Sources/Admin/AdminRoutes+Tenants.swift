import Core
import Gateway
import HTTP
import Pipeline
import Synchronization

extension AdminRoute {
  /// What belongs to a tenant: for callers of that tenant, and for those of none. `inquire` and `agree` are called on any
  /// thread.
  public static func tenants(
    _ service: ConfigurationService, metrics: Metrics, inquire: @escaping @Sendable (Inquiry) -> Void,
    agree: @escaping Agreement, directory: @escaping @Sendable () -> ConsumerNames
  ) -> [AdminRoute] {
    [
      tenantConfiguration(service), applyTenant(service),
      tenantUsage(TenantUsage(metrics: metrics, inquire: inquire, agree: agree, directory: directory)),
    ]
  }

  private static let problem = "application/problem+json"
  private static let tenant = Parameter("tenant", .name, isInPath: true, "The tenant's id.")
  private static let noTenant = Outcome(404, "There is no such tenant, or no revision.", problem, schema: "Problem")
  private static let noCluster = Outcome(
    409, "The node has no cluster, or another change is under way or being tried out.", problem, schema: "Problem")
  private static let unavailable = Outcome(503, "The store does not answer.", problem, schema: "Problem")

  private static func tenantConfiguration(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/tenants/{tenant}/config", role: .viewer, isForTenants: true, operation: "getTenantConfiguration",
      summary: "What belongs to a tenant, as its authors wrote it. Whoever changes it sends its ETag back in If-Match.",
      parameters: [tenant],
      outcomes: [
        Outcome(200, "The tenant's objects.", "application/json", schema: "TenantConfiguration"), noTenant, noCluster,
        Outcome(422, "The configuration cannot be taken apart.", problem, schema: "Problem"), unavailable,
      ],
      handler: .later { request, reply in
        let tenant = request.parameters["tenant"] ?? ""
        service.state(ofTenant: tenant) { result in
          guard let state = result.answer(request, reply) else { return }
          var response = AdminResponse.json { json in
            json.beginObject()
            json.key("tenant")
            json.string(tenant)
            json.key("revision")
            json.integer(state.revision)
            json.key("text")
            json.string(String(decoding: state.text, as: UTF8.self))
            json.endObject()
          }
          response.fields.append((name: "ETag", value: "\"\(state.tag)\""))
          reply(response)
        }
      })
  }

  private static func applyTenant(_ service: ConfigurationService) -> AdminRoute {
    let running = RunningChanges()
    return AdminRoute(
      .put, "/v1/tenants/{tenant}/config", role: .operator, isForTenants: true, operation: "applyTenantConfiguration",
      summary: "Makes a document all that belongs to a tenant, in the cluster's next revision; nothing else changes.",
      parameters: [
        tenant, Parameter("dryRun", .flag, "Only says what it would change."),
        Parameter("message", .text(most: 1000), "Why, for those who read the history."),
      ],
      body: Body(
        [configurationType, "application/json"], schema: "ConfigurationInput",
        "The tenant's consumers, upstreams, policies and routes, with the values that they refer to; or these alone, whose "
          + "references keep the values that they have."),
      outcomes: [
        Outcome(200, "It is a revision, or changes nothing.", "application/json", schema: "TenantApplied"),
        Outcome(202, "It waits for a leader.", "application/json", schema: "TenantApplied"), noTenant, noCluster,
        Outcome(412, "What If-Match names is not there any more.", problem, schema: "Problem"),
        Outcome(422, "It has errors, or was refused.", problem, schema: "ConfigurationProblem"), unavailable,
      ],
      handler: .later { request, reply in
        guard let input = ConfigurationInput(request), let tag = request.expectedTag else {
          return reply(.problem(AdminProblem.malformedBody, request.decision))
        }
        let tenant = request.parameters["tenant"] ?? ""
        guard running.begin(tenant) else { return reply(.problem(AdminProblem.changeRunning, request.decision)) }
        let message = request.parameter("message") ?? ""
        let wish = ConfigurationService.TenantWish(
          tenant: tenant, text: input.text, tag: tag.name, isTrial: request.parameter("dryRun") == "true")
        service.apply(wish, author: request.caller?.name ?? "", message: message) { result in
          running.end(tenant)
          guard let applied = result.answer(request, reply) else { return }
          reply(answer(applied, tenant, message, isTrial: wish.isTrial))
        }
      })
  }

  private static func answer(
    _ applied: ConfigurationService.TenantApplied, _ tenant: String, _ message: String, isTrial: Bool
  ) -> AdminResponse {
    switch applied {
    case .waiting(let id):
      var response = waiting(id)
      response.change = AdminChange("tenant \(tenant)", reason: message)
      return response
    case .done(let revision, let changes, let tag, let isChanged):
      var response = AdminResponse.json { json in
        json.beginObject()
        json.key("revision")
        json.integer(revision)
        json.key("changed")
        json.bool(isChanged)
        json.key("changes")
        ConfigurationPlan.write(changes, to: &json)
        json.endObject()
      }
      response.fields.append((name: "ETag", value: "\"\(tag)\""))
      if isChanged, !isTrial {
        response.change = AdminChange(
          "tenant \(tenant), revision \(revision)", before: ConfigurationPlan.summary(changes, \.old),
          after: ConfigurationPlan.summary(changes, \.new), reason: message)
      }
      return response
    }
  }

  private static func tenantUsage(_ usage: TenantUsage) -> AdminRoute {
    AdminRoute(
      .get, "/v1/tenants/{tenant}/usage", role: .viewer, isForTenants: true, operation: "getTenantUsage",
      summary: "How many requests of a tenant's callers this node has answered, and how its consumers' limits stand.",
      parameters: [
        tenant, Parameter("after", .name, "The last consumer of the page before."),
        Parameter("limit", .integer(1...Int64(TenantUsage.longestPage)), "The most consumers of a page; left out, 10."),
      ],
      outcomes: [
        Outcome(200, "The counts of this node, and a page of consumers.", "application/json", schema: "TenantUsage"),
        noTenant,
      ],
      handler: .later { request, reply in usage.answer(request, reply) })
  }
}

extension AdminRequest {
  /// What If-Match names, nil inside for anything; nil where it is malformed.
  fileprivate var expectedTag: (name: String?, Void)? {
    guard let tag = fields["if-match"], tag != "*" else { return (nil, ()) }
    guard tag.utf8.count > 2, tag.hasPrefix("\""), tag.hasSuffix("\"") else { return nil }
    return (String(tag.dropFirst().dropLast()), ())
  }
}

extension Result where Failure == TenantFault {
  /// The value; where there is none, the request gets its refusal.
  fileprivate func answer(_ request: AdminRequest, _ reply: AdminReply) -> Success? {
    let fault: TenantFault
    switch self {
    case .success(let value): return value
    case .failure(let failure): fault = failure
    }
    let decision = request.decision
    switch fault {
    case .unknown: reply(.problem(AdminProblem.tenantUnknown, decision))
    case .noRevision, .service(.unknown): reply(.problem(AdminProblem.noRevision, decision))
    case .otherDocument: reply(.problem(AdminProblem.otherDocument, decision))
    // Others were faster each time.
    case .service(.conflict): reply(.problem(AdminProblem.changeRunning, decision))
    case .staged: reply(.problem(AdminProblem.changeStaged, decision))
    case .service(.noCluster): reply(.problem(AdminProblem.noCluster, decision))
    case .service: reply(.problem(AdminProblem.storeSilent, decision))
    case .refused(let reason): reply(.problem(AdminProblem.tenantRefused, decision, detail: reason))
    case .invalid(let diagnostics):
      let first = diagnostics.first?.text(file: "configuration") ?? ""
      reply(
        .problem(AdminProblem.configurationInvalid, decision, detail: "Nothing is changed. \(first)") { json in
          json.key("diagnostics")
          BlueprintCheck.write(diagnostics, to: &json)
        })
    }
    return nil
  }
}

/// The tenants of which a change is under way: one at a time each, since it compiles the whole configuration several times.
final class RunningChanges: Sendable {
  private let tenants = Mutex<Set<String>>([])

  /// Whether there was none; now there is.
  func begin(_ tenant: String) -> Bool { tenants.withLock { $0.insert(tenant).inserted } }

  func end(_ tenant: String) { tenants.withLock { _ = $0.remove(tenant) } }
}

/// Gathers what a tenant has used.
struct TenantUsage: Sendable {
  /// The most consumers of a page: each is a question to a loop, which takes some dozens at a time.
  static let longestPage = 32

  let metrics: Metrics
  let inquire: @Sendable (Inquiry) -> Void
  let agree: AdminRoute.Agreement
  let directory: @Sendable () -> ConsumerNames

  func answer(_ request: AdminRequest, _ reply: AdminReply) {
    let tenant = request.parameters["tenant"] ?? ""
    let names = directory()
    guard names.hasTenant(tenant) else { return reply(.problem(AdminProblem.tenantUnknown, request.decision)) }
    let limit = request.parameter("limit").flatMap { Int($0) } ?? 10
    let after = request.parameter("after") ?? ""
    agree { agent in
      let issued = agent?.factKeeper.view.keys.ownConsumers(ofTenant: tenant) ?? []
      let all = Set(names.consumers(ofTenant: tenant) + issued).sorted()
      let rest = all.drop { $0 <= after }
      let page = Array(rest.prefix(limit))
      let gathering = Gathering(page.count) { documents in
        guard let documents else { return reply(.problem(AdminProblem.noAnswer, request.decision)) }
        reply(
          .json { json in
            json.beginObject()
            json.key("tenant")
            json.string(tenant)
            write(metrics.counts(ofTenant: tenant), to: &json)
            json.key("consumers")
            json.beginArray()
            for document in documents { if let document { json.raw(String(decoding: document, as: UTF8.self)) } }
            json.endArray()
            json.key("next")
            if rest.count > page.count, let last = page.last { json.string(last) } else { json.null() }
            json.endObject()
          })
      }
      for (index, consumer) in page.enumerated() {
        inquire(
          Inquiry(.usage(consumer: consumer, address: nil, tenant: tenant)) { answer in
            switch answer {
            case .document(let bytes): gathering.add(bytes, at: index)
            // A page that leaves somebody out in silence is worse than none.
            case .busy: gathering.giveUp()
            case .unknown, .consumerNeeded: gathering.add(nil, at: index)
            }
          })
      }
    }
  }

  /// The counts of this node, as the member `requests`.
  private func write(_ counts: TenantCounts, to json: inout JSONWriter) {
    json.key("scope")
    json.string("node")
    json.key("requests")
    json.beginObject()
    for (name, value) in zip(TenantCounts.classes, counts.requests) {
      json.key(name)
      json.integer(Int64(clamping: value))
    }
    json.endObject()
    json.key("refusals")
    json.integer(Int64(clamping: counts.refusals))
  }

  /// Waits for the answers about several consumers, which come on the loops' threads. Its lock is the last that anybody takes.
  private final class Gathering: Sendable {
    private let state: Mutex<(left: Int, found: [[UInt8]?])>
    private let then: @Sendable ([[UInt8]?]?) -> Void

    /// `then` gets what was found, or nothing where not everybody could be asked about; once.
    init(_ count: Int, then: @escaping @Sendable ([[UInt8]?]?) -> Void) {
      state = Mutex((count, Array(repeating: nil, count: count)))
      self.then = then
      if count == 0 { then([]) }
    }

    func add(_ document: [UInt8]?, at index: Int) {
      let all = state.withLock { state -> [[UInt8]?]? in
        state.found[index] = document
        state.left -= 1
        return state.left == 0 ? state.found : nil
      }
      if let all { then(all) }
    }

    func giveUp() {
      let isFirst = state.withLock { state in
        defer { state.left = -1 }
        return state.left > 0
      }
      if isFirst { then(nil) }
    }
  }
}
