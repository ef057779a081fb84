import Core
import Net

extension Verb {
  private static let json = Option("--json", nil, "the node's answer as it is")

  /// `sluice plan`.
  static let plan = Verb(
    "plan", "[OPTIONS] FILE", summary: "what apply would change, and what that would do",
    description: """
      Compares a configuration file with what is in force on the cluster, object by object, and says what follows: routes
      that are gone, limits that are lower and who is over them now, policies that no longer apply, keys that end. What
      begins with ! deserves a second look. Nothing is changed. FILE - is standard input. \(AdminClient.note)
      """,
    options: [AdminClient.option, json], examples: ["sluice plan sluice.json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1 else {
      throw UsageError("plan takes one file; name it, or - for standard input")
    }
    let client = try AdminClient(arguments)
    guard let upload = ConfigurationUpload.read(arguments.operands[0], verb: "plan") else { return .failed }
    let request = AdminClient.Request(
      method: .put, path: "/v1/config", parameters: [("dryRun", "true")], contentType: AdminClient.configurationType,
      body: upload.bytes)
    guard let answer = client.ask(request, for: "plan", file: upload.path), let json = answer.json else {
      return .failed
    }
    if arguments.has("--json") {
      Console.output(String(decoding: answer.body, as: UTF8.self))
    } else {
      Console.output("against revision \(json["revision"]?.integer ?? 0):\n\(RevisionText.plan(json))")
    }
    return .done
  }

  /// `sluice apply`.
  static let apply = Verb(
    "apply", "[OPTIONS] FILE", summary: "make a configuration file the next revision of all nodes",
    description: """
      Sends the cluster's sections of a configuration file to a node; the leader publishes them as the next revision, unless
      another one came in between. What the file refers to by { env } and { file } is looked up on this machine and travels
      sealed. With --canary some nodes have it first: it goes to the others if these answer as well as they do, and back
      otherwise. \(AdminClient.note)
      """,
    options: [
      Option("--wait", nil, "until every node has it; exit status 1 where one refuses or does not answer"),
      Option("--message", "-m", value: "TEXT", "why, for those who read the history"),
      Option("--base", value: "REVISION", "only if this revision is in force"),
      Option("--canary", value: "N", "the first N nodes, by name, have it first"),
      Option("--hold", value: "TIME", "how long they have it alone (1m)"),
      Option("--tolerance", value: "N", "at how many nodes that refuse it the leader goes back (1)"),
      AdminClient.option, json,
    ],
    examples: [
      "sluice apply --wait -m \"lower the limit of the trial plan\" sluice.json",
      "sluice apply --canary 1 --hold 60s --wait sluice.json",
    ]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1 else {
      throw UsageError("apply takes one file; name it, or - for standard input")
    }
    let client = try AdminClient(arguments)
    let hold = try arguments.nanoseconds("--hold", in: .zero ... .seconds(86_400))
    if hold != nil, !arguments.has("--canary") { throw UsageError("--hold is for --canary N; give both") }
    let canary = try arguments.integer("--canary", in: 1...64)
    let tolerance = try arguments.integer("--tolerance", in: 1...1024)
    let base = try arguments.integer("--base", in: 0...Int.max)
    guard let upload = ConfigurationUpload.read(arguments.operands[0], verb: "apply") else { return .failed }
    var request = AdminClient.Request(
      method: .put, path: "/v1/config",
      parameters: [
        ("message", arguments.value("--message")), ("canary", canary.map { "\($0)" }),
        ("hold", hold.map { "\($0 / 1_000_000)ms" }), ("tolerance", tolerance.map { "\($0)" }),
      ], contentType: AdminClient.configurationType, body: upload.bytes)
    // What somebody else applies between the two is not overwritten.
    guard let newest = base ?? RevisionCommand.newest(client, verb: "apply") else { return .failed }
    request.fields = [("If-Match", "\"\(newest)\"")]
    return RevisionCommand(client, verb: "apply", arguments).change(request, file: upload.path)
  }

  /// `sluice rollback`.
  static let rollback = Verb(
    "rollback", "[OPTIONS] REVISION", summary: "make an earlier revision the next one",
    description: "The history goes on: what REVISION said becomes a revision of its own. \(AdminClient.note)",
    options: [
      Option("--wait", nil, "until every node has it; exit status 1 where one refuses or does not answer"),
      Option("--message", "-m", value: "TEXT", "why, for those who read the history"), AdminClient.option, json,
    ],
    examples: ["sluice rollback --wait 12"]
  ) { arguments throws(UsageError) in
    let revision = try RevisionCommand.revision(arguments, at: 0, of: 1, verb: "rollback")
    let client = try AdminClient(arguments)
    let request = AdminClient.Request(
      method: .post, path: "/v1/config/revisions/\(revision)/rollback",
      parameters: [("message", arguments.value("--message"))])
    return RevisionCommand(client, verb: "rollback", arguments).change(request, file: nil)
  }

  /// `sluice history`.
  static let history = Verb(
    "history", "[OPTIONS]", summary: "the last revisions: who, when, why",
    description: "The newest first. \(AdminClient.note)",
    options: [Option("--limit", value: "N", "how many (20)"), AdminClient.option, json],
    examples: ["sluice history", "sluice history --limit 100 --json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.isEmpty else { throw UsageError("history takes no operands; --limit N says how many") }
    let client = try AdminClient(arguments)
    let limit = try arguments.integer("--limit", in: 1...100) ?? 20
    let request = AdminClient.Request(path: "/v1/config/revisions", parameters: [("limit", "\(limit)")])
    return RevisionCommand(client, verb: "history", arguments).show(request, as: RevisionText.history)
  }

  /// `sluice diff`.
  static let diff = Verb(
    "diff", "[OPTIONS] A B", summary: "what leads from one revision to another",
    description: "Object by object, with what that does; secrets are compared and never shown. \(AdminClient.note)",
    options: [AdminClient.option, json], examples: ["sluice diff 11 12"]
  ) { arguments throws(UsageError) in
    let from = try RevisionCommand.revision(arguments, at: 0, of: 2, verb: "diff")
    let to = try RevisionCommand.revision(arguments, at: 1, of: 2, verb: "diff")
    let client = try AdminClient(arguments)
    let request = AdminClient.Request(
      path: "/v1/config/diff", parameters: [("from", "\(from)"), ("to", "\(to)")])
    return RevisionCommand(client, verb: "diff", arguments).show(request, as: RevisionText.plan)
  }
}

/// What verbs about revisions have in common.
struct RevisionCommand {
  /// How long a change may wait for a leader, in nanoseconds: longer than it takes to elect one.
  private static let patience: Int64 = 10_000_000_000

  private let client: AdminClient
  private let verb: String
  private let arguments: Arguments
  private var isJSON: Bool { arguments.has("--json") }

  init(_ client: AdminClient, verb: String, _ arguments: Arguments) {
    (self.client, self.verb, self.arguments) = (client, verb, arguments)
  }

  /// The revision that an operand names.
  static func revision(
    _ arguments: Arguments, at place: Int, of count: Int, verb: String
  ) throws(UsageError) -> Int64 {
    guard arguments.operands.count == count else {
      throw UsageError("\(verb) takes \(count == 1 ? "a revision" : "two revisions"); sluice history lists them")
    }
    guard let number = Int64(arguments.operands[place]), number > 0 else {
      throw UsageError("\(arguments.operands[place]) is no revision; sluice history lists them")
    }
    return number
  }

  /// The revision in force; 0 for none, nil (and a word about it) where that cannot be found out.
  static func newest(_ client: AdminClient, verb: String) -> Int? {
    let request = AdminClient.Request(path: "/v1/config/revisions", parameters: [("limit", "1")])
    guard let json = client.ask(request, for: verb)?.json else { return nil }
    return Int(json["revisions"]?.elements.first?["revision"]?.integer ?? 0)
  }

  /// Asks, and prints the answer.
  func show(_ request: AdminClient.Request, as render: (JSONValue) -> String) -> ExitStatus {
    guard let answer = client.ask(request, for: verb), let json = answer.json else { return .failed }
    Console.output(isJSON ? String(decoding: answer.body, as: UTF8.self) : render(json))
    return .done
  }

  /// Has something changed, and waits if that is wanted.
  func change(_ request: AdminClient.Request, file: String?) -> ExitStatus {
    guard let answer = client.ask(request, for: verb, file: file), var json = answer.json else { return .failed }
    var body = answer.body
    if let proposal = json["proposal"]?.string {
      if !isJSON { Console.error("sluice \(verb): there is no leader yet; waiting for one\n") }
      guard let decided = decision(about: proposal), let found = decided.json else { return .failed }
      (json, body) = (found, decided.body)
    }
    let revision = json["revision"]?.integer ?? 0
    let waits = arguments.has("--wait")
    if isJSON {
      if !waits { Console.output(String(decoding: body, as: UTF8.self)) }
    } else {
      Console.output(
        json["changed"]?.bool == false
          ? "nothing changes: revision \(revision) says the same\n" : "revision \(revision)\n")
    }
    guard waits else { return .done }
    return RevisionWait(client, verb: verb, isJSON: isJSON).run(revision) ? .done : .failed
  }

  /// What a leader decided about a change that waits; printed where there is none in time.
  private func decision(about proposal: String) -> AdminClient.Answer? {
    let deadline = Clock.monotonic().advanced(byNanoseconds: Self.patience)
    while true {
      guard let answer = client.ask(.init(path: "/v1/config/proposals/\(proposal)"), for: verb) else { return nil }
      if answer.status == 200 { return answer }
      guard Clock.monotonic() < deadline else {
        Console.error("sluice \(verb): no leader has decided; see sluice status\n")
        return nil
      }
      OSThread.pause(microseconds: 100_000)
    }
  }
}
