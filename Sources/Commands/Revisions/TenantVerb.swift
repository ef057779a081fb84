import Core
import Gateway
import Pipeline

extension Verb {
  /// `sluice tenant`.
  static let tenant = Verb(
    "tenant", "[OPTIONS] get|apply TENANT [FILE]", summary: "what belongs to a tenant: see it, change it",
    description: """
      get prints the consumers, upstreams, policies and routes of a tenant as they are in force. apply makes those of FILE (-
      is standard input) all that belongs to the tenant, in the next revision of all nodes; nothing else changes. What FILE
      refers to is { env }, looked up here; what is not set here keeps the value that it has. A token of the tenant will do.
      \(AdminClient.note)
      """,
    options: [
      Option("--message", "-m", value: "TEXT", "apply: why, for those who read the history"),
      Option("--base", value: "TAG", "apply: only if the tenant has what get called so with --json"),
      Option("--dry-run", nil, "apply: only says what would change"), AdminClient.option,
      Option("--json", nil, "the node's answer as it is; get adds the tag"),
    ],
    examples: [
      "sluice tenant get acme > acme.json", "sluice tenant apply -m \"another route\" acme acme.json",
    ]
  ) { arguments throws(UsageError) in
    let words = arguments.operands
    guard let action = words.first, ["get", "apply"].contains(action) else {
      throw UsageError("tenant takes get or apply, and the tenant")
    }
    guard words.count == (action == "get" ? 2 : 3), !words[1].isEmpty else {
      throw UsageError(action == "get" ? "tenant get takes one tenant" : "tenant apply takes a tenant and a file")
    }
    guard action == "apply" || !["--message", "--base", "--dry-run"].contains(where: arguments.has) else {
      throw UsageError("--message, --base and --dry-run are for apply")
    }
    let command = TenantCommand(client: try AdminClient(arguments), arguments: arguments, tenant: words[1])
    return action == "get" ? command.get() : command.apply(words[2])
  }
}

/// What `sluice tenant` does.
private struct TenantCommand {
  /// The largest file that is read, in bytes: more than a tenant may have.
  private static let limit = 4 << 20

  let client: AdminClient
  let arguments: Arguments
  let tenant: String
  private var path: String { "/v1/tenants/\(PercentText.encoded(tenant))/config" }
  private var isJSON: Bool { arguments.has("--json") }

  func get() -> ExitStatus {
    guard let answer = client.ask(.init(path: path), for: "tenant"), let json = answer.json else { return .failed }
    guard isJSON else {
      Console.output(json["text"]?.string ?? "")
      return .done
    }
    var writer = JSONWriter(ByteBuffer())
    writer.beginObject()
    writer.key("tag")
    writer.string((answer.tag ?? "").replacing("\"", with: ""))
    for member in json.members {
      writer.key(member.key.string ?? "")
      writer.raw(member.value.sourceText)
    }
    writer.endObject()
    Console.output(JSONIndent.indented(writer.buffer.array))
    return .done
  }

  func apply(_ file: String) -> ExitStatus {
    let body: [UInt8]
    do throws(Console.FileError) { body = Self.body(try Console.read(file, limit: Self.limit)) } catch {
      Console.error("sluice tenant: \(error.message)\n")
      return .failed
    }
    var request = AdminClient.Request(
      method: .put, path: path,
      parameters: [
        ("message", arguments.value("--message")), ("dryRun", arguments.has("--dry-run") ? "true" : nil),
      ], contentType: AdminClient.configurationType, body: body)
    if let base = arguments.value("--base") { request.fields = [("If-Match", "\"\(base)\"")] }
    guard let answer = client.ask(request, for: "tenant", file: file), let json = answer.json else { return .failed }
    if isJSON {
      Console.output(String(decoding: answer.body, as: UTF8.self))
    } else if let proposal = json["proposal"]?.string {
      Console.output("there is no leader yet: it waits for one under the name \(proposal)\n")
    } else {
      let revision = json["revision"]?.integer ?? 0
      let isChanged = json["changed"]?.bool == true
      let head = arguments.has("--dry-run") ? "against revision \(revision):\n" : "revision \(revision)\n"
      Console.output(
        isChanged ? head + RevisionText.plan(json) : "nothing changes: revision \(revision) says the same\n")
    }
    return .done
  }

  /// The text with the variables that it refers to, as far as they are set here. Files stay where they are.
  private static func body(_ text: [UInt8]) -> [UInt8] {
    var names: [String] = []
    if let root = JSONDocument.parse(text).document?.root { collect(root, &names) }
    var values: [SecretSource: String] = [:]
    for name in names { values[.environment(name)] = ConfigurationFile.variable(name) }
    return ConfigurationUpload.document(text, values: values)
  }

  private static func collect(_ value: JSONValue, _ names: inout [String]) {
    if case .environment(let name)? = OptionReader.reference(value) { names.append(name) }
    for element in value.elements { collect(element, &names) }
    for member in value.members { collect(member.value, &names) }
  }
}
