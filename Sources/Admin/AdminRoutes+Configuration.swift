import Cluster
import Core
import Gateway
import HTTP
import Pipeline

extension AdminRoute {
  /// The media type of a configuration with the values that it refers to.
  public static let configurationType = "application/vnd.sluice.configuration+json"

  /// The cluster's configuration: what is in force, what was, and how to change it.
  public static func configuration(_ service: ConfigurationService) -> [AdminRoute] {
    [
      present(service), apply(service), history(service), standing(service), text(service), rollBack(service),
      difference(service), proposal(service),
    ]
  }

  private static let problem = "application/problem+json"
  private static let revisionNumber = Parameter.Kind.integer(1...(1 << 53))
  private static let revision = Parameter("revision", revisionNumber, isInPath: true, "The number of the revision.")
  private static let message = Parameter(
    "message", .text(most: RevisionHead.longestMessage), "Why, for those who read the history.")
  private static let noCluster = Outcome(
    409, "The node has no cluster, or it cannot be done.", problem, schema: "Problem")
  private static let unavailable = Outcome(503, "The store does not answer.", problem, schema: "Problem")
  private static let unknown = Outcome(404, "There is no such revision any more.", problem, schema: "Problem")

  // MARK: Reading

  private static func present(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config", role: .viewer, operation: "getConfiguration",
      summary: "The configuration that this node runs. Its ETag is wanted back in If-Match by whoever changes it.",
      outcomes: [
        Outcome(200, "The configuration.", "application/json", schema: "Configuration"),
        Outcome(404, "The node runs its own file.", problem, schema: "Problem"), noCluster,
      ],
      handler: .later { request, reply in
        service.present { result in
          guard let present = result.answer(request, reply) else { return }
          guard let running = present.running else { return reply(.problem(AdminProblem.noRevision, request.decision)) }
          var response = AdminResponse.json { json in
            json.beginObject()
            json.write(running.head.head, name: running.head.name)
            json.key("newest")
            json.integer(present.revision)
            json.key("text")
            json.string(String(decoding: running.body.text, as: UTF8.self))
            json.endObject()
          }
          response.fields.append((name: "ETag", value: "\"\(present.revision)\""))
          reply(response)
        }
      })
  }

  private static func history(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config/revisions", role: .viewer, operation: "listRevisions",
      summary: "The last revisions, the newest first, \(RevisionKeeper.longestPage) of them at most.",
      parameters: [
        Parameter("before", revisionNumber, "Only those with lower numbers."),
        Parameter("limit", .integer(1...Int64(RevisionKeeper.longestPage)), "How many."),
      ],
      outcomes: [
        Outcome(200, "The revisions.", "application/json", schema: "Revisions"), noCluster, unavailable,
      ],
      handler: .later { request, reply in
        let before = request.parameter("before").flatMap { Int64($0) } ?? 0
        let limit = request.parameter("limit").flatMap { Int($0) } ?? RevisionKeeper.longestPage
        let isNone = before == 1
        service.history(from: before > 0 ? before - 1 : 0, count: limit) { result in
          guard let entries = result.answer(request, reply) else { return }
          reply(
            .json { json in
              json.beginObject()
              json.key("revisions")
              json.beginArray()
              for entry in entries where !isNone {
                json.beginObject()
                json.write(entry.head, name: entry.name)
                json.endObject()
              }
              json.endArray()
              json.endObject()
            })
        }
      })
  }

  private static func standing(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config/revisions/{revision}", role: .viewer, operation: "getRevision",
      summary: "A revision, and what each node does with it.", parameters: [revision],
      outcomes: [
        Outcome(200, "The revision.", "application/json", schema: "Revision"), unknown, noCluster, unavailable,
      ],
      handler: .later { request, reply in
        service.entry(request.revision) { result in
          guard let standing = result.answer(request, reply) else { return }
          reply(.json { $0.write(standing) })
        }
      })
  }

  private static func text(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config/revisions/{revision}/text", role: .viewer, operation: "getRevisionText",
      summary: "What a revision says, as its author wrote it; never what it refers to.", parameters: [revision],
      outcomes: [
        Outcome(200, "The text.", "text/plain; charset=utf-8"), unknown, noCluster, unavailable,
      ],
      handler: .later { request, reply in
        service.text(request.revision) { result in
          guard let content = result.answer(request, reply) else { return }
          reply(.text(String(decoding: content.body.text, as: UTF8.self)))
        }
      })
  }

  private static func difference(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config/diff", role: .viewer, operation: "compareRevisions",
      summary: "What leads from one revision to another, object by object, and what that does.",
      parameters: [
        Parameter("from", revisionNumber, "The one; left out, what this node runs."),
        Parameter("to", revisionNumber, "The other; left out, what this node runs."),
      ],
      outcomes: [
        Outcome(200, "The difference.", "application/json", schema: "Plan"), unknown, noCluster, unavailable,
      ],
      handler: .later { request, reply in
        let from = request.parameter("from").flatMap { Int64($0) }
        service.compare(from: from, to: request.parameter("to").flatMap { Int64($0) }) { result in
          guard let plan = result.answer(request, reply) else { return }
          reply(
            .json { json in
              json.beginObject()
              plan.write(to: &json)
              json.endObject()
            })
        }
      })
  }

  private static func proposal(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .get, "/v1/config/proposals/{proposal}", role: .viewer, operation: "getProposal",
      summary: "What became of a change that waited for a leader.",
      parameters: [Parameter("proposal", .text(most: 64), isInPath: true, "The name under which it waits.")],
      outcomes: [
        Outcome(200, "It is a revision.", "application/json", schema: "Applied"),
        Outcome(202, "It still waits.", "application/json", schema: "Applied"),
        Outcome(404, "Nobody knows of it.", problem, schema: "Problem"), noCluster,
        Outcome(412, "Something else was in force by then.", problem, schema: "Problem"),
        Outcome(422, "It was refused.", problem, schema: "Problem"), unavailable,
      ],
      handler: .later { request, reply in
        service.outcome(of: request.parameters["proposal"] ?? "") { result in
          guard let decided = result.answer(request, reply) else { return }
          switch decided {
          case .published(let revision): reply(applied(revision, isChanged: true, nil))
          case .waiting(let id): reply(waiting(id))
          }
        }
      })
  }

  // MARK: Changing

  private static let changed: [Outcome] = [
    Outcome(200, "It is a revision, or changes nothing.", "application/json", schema: "Applied"),
    Outcome(202, "It waits for a leader.", "application/json", schema: "Applied"), noCluster,
    Outcome(412, "Not the revision of If-Match is in force.", problem, schema: "Problem"),
    Outcome(422, "The configuration has errors, or was refused.", problem, schema: "ConfigurationProblem"), unavailable,
  ]

  private static func apply(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .put, "/v1/config", role: .operator, operation: "applyConfiguration",
      summary: "Makes a configuration the cluster's next revision, or says what it would change.",
      parameters: [
        Parameter("dryRun", .flag, "Only says what it would change."), message,
        Parameter("canary", .integer(0...Int64(RevisionHead.longestStage)), "How many nodes have it first."),
        Parameter("hold", .duration, "How long they have it alone; a minute unless said."),
        Parameter(
          "tolerance", .integer(1...1024), "At how many nodes that refuse it the leader goes back; 1 unless said."),
      ],
      body: Body(
        [configurationType, "application/json"], schema: "ConfigurationInput",
        "The configuration with the values that it refers to; or the configuration itself, whose references keep the "
          + "values that they have."),
      outcomes: changed,
      handler: .later { request, reply in
        guard let input = ConfigurationInput(request), let base = request.expectedRevision else {
          return reply(.problem(AdminProblem.malformedBody, request.decision))
        }
        if request.parameter("dryRun") == "true" {
          return service.plan(input.text) { result in
            guard let (revision, plan) = result.answer(request, reply) else { return }
            reply(applied(revision, isChanged: !plan.isEmpty, plan))
          }
        }
        let stage = request.parameter("canary").flatMap { Int($0) } ?? 0
        let hold = request.parameter("hold").flatMap { Duration(text: $0) } ?? .seconds(60)
        let tolerance = request.parameter("tolerance").flatMap { Int64($0) } ?? 1
        service.apply(
          input.text, base: base.revision, author: request.caller?.name ?? "",
          message: request.parameter("message") ?? ""
        ) { draft in
          (draft.stage, draft.tolerance) = (stage, tolerance)
          draft.holdMilliseconds = min(Int64(hold / .milliseconds(1)), RevisionHead.longestHold)
        } _: {
          answer($0, request, reply)
        }
      })
  }

  private static func rollBack(_ service: ConfigurationService) -> AdminRoute {
    AdminRoute(
      .post, "/v1/config/revisions/{revision}/rollback", role: .operator, operation: "rollBack",
      summary: "Makes what an earlier revision says the next revision.", parameters: [revision, message],
      outcomes: changed + [unknown],
      handler: .later { request, reply in
        service.rollBack(
          to: request.revision, author: request.caller?.name ?? "", message: request.parameter("message") ?? ""
        ) { answer($0, request, reply) }
      })
  }

  private static func answer(
    _ result: Result<ConfigurationService.Applied, ConfigurationService.Fault>, _ request: AdminRequest,
    _ reply: AdminReply
  ) {
    guard let outcome = result.answer(request, reply) else { return }
    switch outcome {
    case .published(let revision, let plan):
      var response = applied(revision, isChanged: true, plan)
      response.change = AdminChange(
        "revision \(revision)", before: plan.summary(\.old), after: plan.summary(\.new),
        reason: request.parameter("message") ?? "")
      reply(response)
    case .unchanged(let revision): reply(applied(revision, isChanged: false, nil))
    case .waiting(let id): reply(waiting(id))
    }
  }

  private static func applied(_ revision: Int64, isChanged: Bool, _ plan: ConfigurationPlan?) -> AdminResponse {
    var response = AdminResponse.json { json in
      json.beginObject()
      json.key("revision")
      json.integer(revision)
      json.key("changed")
      json.bool(isChanged)
      plan?.write(to: &json)
      json.endObject()
    }
    response.fields.append((name: "ETag", value: "\"\(revision)\""))
    return response
  }

  /// The answer for a change that waits for a leader under the name `id`.
  static func waiting(_ id: String) -> AdminResponse {
    var response = AdminResponse.json { json in
      json.beginObject()
      json.key("proposal")
      json.string(id)
      json.endObject()
    }
    response.status = 202
    return response
  }
}

extension AdminRequest {
  /// The revision in the path.
  fileprivate var revision: Int64 { parameters["revision"].flatMap { Int64($0) } ?? 0 }

  /// The revision that If-Match names, nil inside for any; nil where it names none.
  fileprivate var expectedRevision: (revision: Int64?, Void)? {
    guard let tag = fields["if-match"], tag != "*" else { return (nil, ()) }
    guard tag.hasPrefix("\""), tag.hasSuffix("\""), let revision = Int64(tag.dropFirst().dropLast()) else { return nil }
    return (revision, ())
  }
}

extension Result where Failure == ConfigurationService.Fault {
  /// The value; where there is none, the request gets its refusal.
  fileprivate func answer(_ request: AdminRequest, _ reply: AdminReply) -> Success? {
    let fault: ConfigurationService.Fault
    switch self {
    case .success(let value): return value
    case .failure(let failure): fault = failure
    }
    let decision = request.decision
    switch fault {
    case .noCluster: reply(.problem(AdminProblem.noCluster, decision))
    case .unavailable: reply(.problem(AdminProblem.storeSilent, decision))
    case .unknown: reply(.problem(AdminProblem.revisionUnknown, decision))
    case .conflict(let current):
      let detail = "Revision \(current) is in force. Look at it, and apply the change anew."
      reply(.problem(AdminProblem.otherRevision, decision, detail: detail))
    case .refused(let reason):
      reply(.problem(AdminProblem.revisionRefused, decision, detail: "It is not done: \(reason)."))
    case .invalid(let diagnostics):
      let first = diagnostics.first { $0.severity == .error }?.text(file: "configuration") ?? ""
      reply(
        .problem(AdminProblem.configurationInvalid, decision, detail: "Nothing is changed. \(first)") { json in
          json.key("diagnostics")
          BlueprintCheck.write(diagnostics, to: &json)
        })
    }
    return nil
  }
}
