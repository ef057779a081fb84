import Core

extension Verb {
  /// `sluice usage`.
  static let usage = Verb(
    "usage", "[OPTIONS] CONSUMER", summary: "what a consumer has used and has left",
    description: "Asks a node through its admin port; nothing is taken from any limit. \(AdminClient.note)",
    options: [
      AdminClient.option, Option("--ip", value: "ADDRESS", "also limits by address, for this one"),
      Option("--json", nil, "the node's answer as it is"),
    ],
    examples: ["sluice usage mobile-app", "SLUICE_ADMIN=10.0.0.7:9901 sluice usage --json mobile-app"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count == 1, !arguments.operands[0].isEmpty else {
      throw UsageError("usage takes one consumer; name it as the configuration does")
    }
    let path = "/v1/usage/\(PercentText.encoded(arguments.operands[0]))"
    return try InquiryCommand.run(
      "usage", arguments, path, [("ip", arguments.value("--ip"))], render: InquiryText.usage)
  }

  /// `sluice explain`.
  static let explain = Verb(
    "explain", "[OPTIONS] [DECISION]", summary: "why a request was or would be decided so",
    description: """
      Shows limit by limit why a recent request was refused, named by the `instance` of its problem document or by its
      X-Request-Id; or how a request of a consumer to a route would be decided now, by access rules term by term. Asks a node through its admin port,
      for a refusal the one that refused; nothing is taken from any limit. \(AdminClient.note)
      """,
    options: [
      Option("--consumer", value: "ID", "who would send the request; left out, somebody without a key"),
      Option("--key", value: "ID", "with which of the consumer's keys; left out, the first"),
      Option("--route", value: "ID", "the route"),
      Option("--ip", value: "ADDRESS", "from where, for limits by address"),
      Option("--method", value: "METHOD", "what it asks for, for access rules; left out, GET"),
      Option("--path", value: "PATH", "its path; left out, /"),
      Option("--host", value: "HOST", "the host that it names"),
      Option("--claims", value: "JSON", "what the caller's token says, as an object"),
      AdminClient.option, Option("--json", nil, "the node's answer as it is"),
    ],
    examples: [
      "sluice explain 32f87de83ccb80d9ab95ef99165c4ebb", "sluice explain --consumer mobile-app --route orders-v1",
      #"sluice explain --route staff --method DELETE --path /users/7 --claims '{"sub":"ann","roles":["admin"]}'"#,
    ]
  ) { arguments throws(UsageError) in
    if let decision = arguments.operands.first {
      guard arguments.operands.count == 1, !arguments.has("--route"), !arguments.has("--consumer") else {
        throw UsageError("explain takes one decision and nothing else, or --consumer ID --route ID")
      }
      return try InquiryCommand.run(
        "explain", arguments, "/v1/explain", [("decision", decision)], render: InquiryText.explanation)
    }
    guard let route = arguments.value("--route") else {
      throw UsageError("explain needs a decision, or a route: --consumer ID --route ID")
    }
    if let claims = arguments.value("--claims"),
      JSONDocument.parse(Array(claims.utf8), dialect: .strict).document?.root.kind != .object
    {
      throw UsageError("--claims takes an object of JSON, such as '{\"sub\":\"ann\"}'")
    }
    return try InquiryCommand.run(
      "explain", arguments, "/v1/explain",
      [
        ("route", route), ("consumer", arguments.value("--consumer")), ("key", arguments.value("--key")),
        ("ip", arguments.value("--ip")), ("method", arguments.value("--method")),
        ("path", arguments.value("--path")), ("host", arguments.value("--host")),
        ("claims", arguments.value("--claims")),
      ], render: InquiryText.explanation)
  }
}

/// What verbs that ask a node have in common.
enum InquiryCommand {
  /// Asks, and prints the answer.
  static func run(
    _ verb: String, _ arguments: Arguments, _ path: String, _ parameters: [(name: String, value: String?)],
    render: (JSONValue) -> String
  ) throws(UsageError) -> ExitStatus {
    let client = try AdminClient(arguments)
    let answer: [UInt8]
    do throws(AdminClient.Failure) {
      answer = try client.get(path, parameters)
    } catch {
      Console.error("sluice \(verb): \(error.message)\n")
      return .failed
    }
    if arguments.has("--json") {
      Console.output(String(decoding: answer, as: UTF8.self))
    } else if let root = JSONDocument.parse(answer, dialect: .strict).document?.root {
      Console.output(render(root))
    } else {
      Console.error("sluice \(verb): the answer of \(client.place) is not JSON\n")
      return .failed
    }
    return .done
  }
}
