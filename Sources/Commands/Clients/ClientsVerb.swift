import Core

extension Verb {
  /// `sluice clients`.
  static let clients = Verb(
    "clients", "create|list|show|rotate|delete [OPTIONS] [ID]",
    summary: "register, list, show and delete clients of an authorization server, and change their secrets",
    description: """
      A server takes such clients where its option registeredClients is true. They hold on all nodes at once. A secret is
      printed once, by create and rotate, and kept nowhere; it begins with slc_. Deleting a client revokes its tokens.
      \(AdminClient.note)
      """,
    options: [
      Option("--server", value: "ISSUER", "which server; may be left out where there is only one"),
      Option("--id", value: "ID", "create: what it is called; left out, a random name"),
      Option("--name", value: "TEXT", "create: what people know it by who are asked for consent"),
      Option("--grant", value: "GRANT", "create: how it gets tokens; may be repeated"),
      Option("--redirect", value: "URL", "create: where answers to users may be sent; may be repeated"),
      Option("--scope", value: "SCOPE", "create: what it may ask for; may be repeated"),
      Option("--audience", value: "NAME", "create: whom its tokens may be for; may be repeated"),
      Option("--public", "create: it can keep no secret, and gets none"),
      Option("--overlap", value: "DURATION", "rotate: how long the old secret is good yet; left out, 1d"),
      AdminClient.option, Option("--json", nil, "the node's answer as it is"),
    ],
    examples: [
      "sluice clients create --name \"Set-top box\" --public --grant device_code --grant refresh_token --scope read",
      "sluice clients create --id billing --grant client_credentials --scope invoices",
      "sluice clients rotate billing --overlap 2h",
    ]
  ) { arguments throws(UsageError) in
    let (action, id) = try arguments.action(ClientAction.self, of: "clients", on: "client")
    return try ClientCommand.run(action, id, arguments)
  }
}

/// What can be done with clients.
enum ClientAction: String, RecordAction {
  case create, list, show, rotate, delete

  var takesID: Bool { self != .create && self != .list }
}

/// Does it.
private enum ClientCommand {
  static func run(_ action: ClientAction, _ id: String, _ arguments: Arguments) throws(UsageError) -> ExitStatus {
    let command = try FactCommand("clients \(action.rawValue)", arguments, wait: nil)
    let server = [(name: "server", value: arguments.value("--server"))]
    let path = "/v1/oauth/clients/\(PercentText.encoded(id))"
    switch action {
    case .list:
      return command.list(
        "/v1/oauth/clients", server, mark: "cursor", member: "clients",
        columns: ["CLIENT", "NAME", "KIND", "GRANTS", "CREATED"], row: row)
    case .show:
      guard let answer = command.get(path, server) else { return .failed }
      Console.output(String(decoding: answer.body, as: UTF8.self))
      return .done
    case .create: return try create(command, arguments)
    case .rotate:
      var body = FactObject()
      body.add("overlap", arguments.value("--overlap"))
      return command.run(.post, "\(path)/secret", query: server, body, say: made)
    case .delete:
      return command.run(.delete, path, query: server, nil) { _ in
        "client \(id) is deleted, and its tokens are revoked\n"
      }
    }
  }

  private static func create(_ command: FactCommand, _ arguments: Arguments) throws(UsageError) -> ExitStatus {
    let grants = arguments.values("--grant")
    if grants.isEmpty { throw UsageError("clients create needs --grant, such as --grant authorization_code") }
    var body = FactObject()
    body.add("server", arguments.value("--server"))
    body.add("id", arguments.value("--id"))
    body.add("name", arguments.value("--name"))
    body.add("public") { $0.bool(arguments.has("--public")) }
    let lists = [
      ("grants", grants), ("redirectURIs", arguments.values("--redirect")), ("scopes", arguments.values("--scope")),
      ("audiences", arguments.values("--audience")),
    ]
    for (name, items) in lists where !items.isEmpty {
      body.add(name) { json in
        json.beginArray()
        for item in items { json.string(item) }
        json.endArray()
      }
    }
    return command.run(.post, "/v1/oauth/clients", body, say: made)
  }

  private static func row(_ client: JSONValue) -> [String] {
    let grants = client["grants"]?.elements.compactMap(\.string) ?? []
    return [
      client["id"]?.string ?? "", client["name"]?.string ?? "", client["public"]?.bool == true ? "public" : "secret",
      grants.joined(separator: " "), client["created"]?.string ?? "",
    ]
  }

  private static func made(_ answer: JSONValue) -> String {
    let id = answer["id"]?.string ?? ""
    guard let secret = answer["secret"]?.string else { return "client \(id) is public\n" }
    return "client \(id), secret shown only now:\n\(secret)\n"
  }
}
