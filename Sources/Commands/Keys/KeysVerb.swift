import Core

extension Verb {
  /// `sluice keys`.
  static let keys = Verb(
    "keys", "create|list|rotate|expire|disable|enable|revoke [OPTIONS] [ID]",
    summary: "create, list, rotate, expire, disable, enable and revoke the API keys of a cluster",
    description: """
      Keys of the cluster hold on all its nodes within a second. A key's text is printed once, by create and rotate, and kept
      nowhere; it begins with slk_. Whose key it is the configuration tells (--consumer alone), or the key itself (--own, with
      --tenant, --group and --plan). Moments are written like 2026-12-24T18:00:00Z, or as a duration from now: 30d.
      \(AdminClient.note)
      """,
    options: [
      Option("--consumer", value: "ID", "create: whose key it is; list: only that consumer's"),
      Option("--own", "create: the consumer is one that the configuration does not know"),
      Option("--tenant", value: "ID", "create --own: the consumer's tenant"),
      Option("--group", value: "NAME", "create --own: a group of the consumer; may be repeated"),
      Option("--plan", value: "NAME", "create --own: the consumer's usage plan"),
      Option("--not-before", value: "MOMENT", "create: the first moment at which it is valid"),
      Option("--expires", value: "MOMENT", "create, rotate: the first moment at which it is not; left out, never"),
      Option("--at", value: "MOMENT", "expire: when; left out, now"),
      Option("--overlap", value: "DURATION", "rotate: how long the old key is valid yet; left out, 1d"),
      Option("--reason", value: "TEXT", "revoke: why"),
      Option("--wait", value: "DURATION", "how long to wait until all nodes go by it; left out, 3s"),
      AdminClient.option, Option("--json", nil, "the node's answer as it is"),
    ],
    examples: [
      "sluice keys create --consumer mobile-app --expires 365d",
      "sluice keys create --consumer new-shop --own --tenant acme --group trial",
      "sluice keys rotate 4fT0aZ81bQ --overlap 7d",
    ]
  ) { arguments throws(UsageError) in
    let (action, id) = try arguments.action(KeyAction.self, of: "keys", on: "key")
    return try KeyCommand.run(action, id, arguments)
  }
}

/// What can be done with keys.
enum KeyAction: String, RecordAction {
  case create, list, rotate, expire, disable, enable, revoke

  var takesID: Bool { self != .create && self != .list }
}

/// Does it.
private enum KeyCommand {
  static func run(_ action: KeyAction, _ id: String, _ arguments: Arguments) throws(UsageError) -> ExitStatus {
    let command = try FactCommand("keys \(action.rawValue)", arguments)
    let path = "/v1/keys/\(PercentText.encoded(id))"
    switch action {
    case .list:
      return command.list(
        "/v1/keys", [("consumer", arguments.value("--consumer")), ("limit", "500")], mark: "after", member: "keys",
        columns: ["KEY", "CONSUMER", "STATE", "CREATED", "EXPIRES"]
      ) { key in ["id", "consumer", "state", "created", "expires"].map { describe(key[$0]) } }
    case .create: return try create(command, arguments)
    case .rotate:
      var body = FactObject()
      body.add("overlap", arguments.value("--overlap"))
      body.add("expires", try FactMoment.text(arguments.value("--expires"), "--expires"))
      return command.run(.post, "\(path)/rotate", body, say: made)
    case .expire:
      var body = FactObject()
      body.add("expires", try FactMoment.text(arguments.value("--at") ?? "0s", "--at"))
      return command.run(.patch, path, body) { "key \(id) expires \(describe($0["expires"]))\n" }
    case .disable, .enable:
      var body = FactObject()
      body.add("state", action == .disable ? "disabled" : "active")
      return command.run(.patch, path, body) { "key \(id) is \(describe($0["state"]))\n" }
    case .revoke:
      var body = FactObject()
      body.add("kind", "key")
      body.add("id", id)
      body.add("reason", arguments.value("--reason"))
      return command.run(.post, "/v1/revocations", body) { _ in "key \(id) is revoked\n" }
    }
  }

  private static func create(_ command: FactCommand, _ arguments: Arguments) throws(UsageError) -> ExitStatus {
    guard let consumer = arguments.value("--consumer") else {
      throw UsageError("keys create needs --consumer; add --own where the configuration does not know that one")
    }
    let isOwn = arguments.has("--own")
    let groups = arguments.values("--group")
    if !isOwn, arguments.has("--tenant") || arguments.has("--plan") || !groups.isEmpty {
      throw UsageError(
        "--tenant, --group and --plan are for a consumer that the configuration does not know; add --own")
    }
    var body = FactObject()
    if isOwn {
      body.add("consumer") { json in
        json.beginObject()
        json.key("id")
        json.string(consumer)
        if let tenant = arguments.value("--tenant") {
          json.key("tenant")
          json.string(tenant)
        }
        if let plan = arguments.value("--plan") {
          json.key("plan")
          json.string(plan)
        }
        json.key("groups")
        json.beginArray()
        for group in groups { json.string(group) }
        json.endArray()
        json.endObject()
      }
    } else {
      body.add("consumer", consumer)
    }
    body.add("notBefore", try FactMoment.text(arguments.value("--not-before"), "--not-before"))
    body.add("expires", try FactMoment.text(arguments.value("--expires"), "--expires"))
    return command.run(.post, "/v1/keys", body, say: made)
  }

  private static func made(_ answer: JSONValue) -> String {
    "key \(describe(answer["id"])) of \(describe(answer["consumer"])), shown only now:\n\(describe(answer["key"]))\n"
  }

  private static func describe(_ value: JSONValue?) -> String { value?.string ?? "never" }
}
