import Core

extension Verb {
  /// `sluice status`.
  static let status = Verb(
    "status", "[OPTIONS]", summary: "nodes, leader, revisions",
    description: """
      Shows the members of a node's cluster and its routers: who leads, and for each how long it runs, which revision and
      which facts are in force on it, how far the store is from it, and its load. Then what policies in shadow would have
      refused on the node that is asked. A node without a cluster shows itself. Exit status 1 where a member is missing, or
      nobody leads.
      \(AdminClient.note)
      """,
    options: [AdminClient.option, Option("--json", nil, "the node's answer as it is")],
    examples: ["sluice status", "sluice status --admin 10.0.0.7:9901 --json"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.isEmpty else { throw UsageError("unexpected \(arguments.operands[0])") }
    let client = try AdminClient(arguments)
    do throws(AdminClient.Failure) {
      let members = try client.send(AdminClient.Request(path: "/v1/nodes"))
      let hasCluster = members.status != 409
      guard !hasCluster || members.status == 200 else { throw client.failure(members) }
      if hasCluster, arguments.has("--json") {
        guard let cluster = members.json else {
          throw AdminClient.Failure(message: "the answer of \(client.place) is not JSON")
        }
        Console.output(String(decoding: members.body, as: UTF8.self))
        return StatusText(cluster: cluster).isWhole ? .done : .failed
      }
      let own = try client.get("/v1/status")
      if arguments.has("--json") {
        Console.output(String(decoding: own, as: UTF8.self))
        return .done
      }
      guard let node = JSONDocument.parse(own, dialect: .strict).document?.root, let cluster = members.json else {
        throw AdminClient.Failure(message: "the answer of \(client.place) is not JSON")
      }
      let text = hasCluster ? StatusText(cluster: cluster) : StatusText(node: node, at: client.place)
      Console.output(text.text + StatusText.certificates(node) + StatusText.issuers(node) + StatusText.shadows(node))
      return text.isWhole ? .done : .failed
    } catch {
      Console.error("sluice status: \(error.message)\n")
      return .failed
    }
  }
}

/// What `sluice status` shows.
struct StatusText {
  private(set) var text = ""
  /// Whether all members are there, and somebody leads.
  private(set) var isWhole = true

  /// The members of a cluster, as `/v1/nodes` tells them.
  init(cluster root: JSONValue) {
    let now = root["time"]?.string.flatMap { WallTime(rfc3339: $0) }
    var table = TextTable([
      "NODE", "ROLE", "STATE", ">UP", ">REVISION", ">LAG", ">LOAD", ">CONNECTIONS", "FACTS", "VERSION",
    ])
    let nodes = Self.shown(root["nodes"]?.elements ?? [])
    for node in nodes + Self.shown(root["routers"]?.elements ?? []) {
      table.add(Self.row(node, now))
      if node["alive"]?.bool != true { isWhole = false }
    }
    text = table.text
    if let name = root["leader"]?["name"]?.string {
      // Its name comes a moment later than its id.
      let leader = name.isEmpty ? root["leader"]?["id"]?.string ?? "" : name
      let epoch = root["leader"]?["epoch"]?.integer ?? 0
      let alive = nodes.count { $0["alive"]?.bool == true }
      let others = "\(alive == nodes.count ? "" : "\(alive) of ")\(nodes.count) \(nodes.count == 1 ? "node" : "nodes")"
      text += "\(others), list \(root["generation"]?.integer ?? 0); \(leader) leads in epoch \(epoch)\n"
    } else {
      isWhole = false
      text += "nobody leads: nothing is published until somebody does; requests do not depend on it\n"
    }
    if root["storeUp"]?.bool != true {
      isWhole = false
      let seconds = (root["ageMilliseconds"]?.integer ?? 0) / 1000
      text += "the node does not reach the store: this is what it knew \(InquiryText.span(seconds)) ago\n"
    }
  }

  /// A node that has no cluster, as `/v1/status` tells.
  init(node root: JSONValue, at place: String) {
    var table = TextTable(["NODE", "STATE", ">UP", "VERSION"])
    table.add([
      place, Self.state(root), InquiryText.span(root["uptimeSeconds"]?.integer ?? 0), root["version"]?.string ?? "",
    ])
    text =
      table.text
      + "no cluster: the node acts on its own file; with a store and cluster.secret nodes share revisions, keys and revocations\n"
  }

  /// The certificates that the node shows for which their authorities have said nothing of use.
  static func certificates(_ root: JSONValue) -> String {
    (root["certificates"]?.elements ?? []).compactMap { certificate in
      guard let staple = certificate["staple"], let fault = staple["fault"]?.string else { return nil }
      let rest =
        staple["present"]?.bool == true
        ? "the last one holds until \(staple["expires"]?.string ?? "it is replaced")" : "none is shown"
      return "\(certificate["certificate"]?.string ?? "") here: no OCSP response: \(fault); \(rest)\n"
    }.joined()
  }

  /// The issuers whose last question has brought the node no keys.
  static func issuers(_ root: JSONValue) -> String {
    (root["issuers"]?.elements ?? []).compactMap { issuer in
      guard let fault = issuer["fault"]?.string else { return nil }
      let rest = issuer["fetched"]?.string.map { "those of \($0) stay" } ?? "none are known"
      return "issuer \(issuer["issuer"]?.string ?? "") here: its keys cannot be had: \(fault); \(rest)\n"
    }.joined()
  }

  /// What policies in shadow have decided on the node that `/v1/status` is of.
  static func shadows(_ root: JSONValue) -> String {
    (root["shadow"]?.elements ?? []).map { shadow in
      let (passed, refused) = (shadow["passed"]?.integer ?? 0, shadow["refused"]?.integer ?? 0)
      let policy = shadow["policy"]?.string ?? ""
      return "in shadow here, \(policy) would have refused \(refused) of \(passed + refused) requests\n"
    }.joined()
  }

  /// All but the dead whose name a living node has: those have started anew.
  private static func shown(_ nodes: [JSONValue]) -> [JSONValue] {
    let alive = Set(nodes.filter { $0["alive"]?.bool == true }.compactMap { $0["name"]?.string })
    let shown = nodes.filter { $0["alive"]?.bool == true || !alive.contains($0["name"]?.string ?? "") }
    return shown.sorted { ($0["name"]?.string ?? "") < ($1["name"]?.string ?? "") }
  }

  private static func row(_ node: JSONValue, _ now: WallTime?) -> [String] {
    let isAlive = node["alive"]?.bool == true
    let started = node["since"]?.string.flatMap { WallTime(rfc3339: $0) }
    let up = started.flatMap { started in now.map { max(0, $0.seconds - started.seconds) } }
    let age = (node["ageMilliseconds"]?.integer ?? 0) / 1000
    let (epoch, sequence) = (node["facts"]?["epoch"]?.integer ?? 0, node["facts"]?["sequence"]?.integer ?? 0)
    return [
      node["name"]?.string ?? "", node["role"]?.string ?? "",
      isAlive ? state(node) : "gone for \(InquiryText.span(age))", isAlive ? up.map(InquiryText.span) ?? "" : "",
      revision(node), lag(node["storeMicroseconds"]?.integer ?? 0),
      "\(node["load"]?["requestsPerSecond"]?.number ?? 0)/s", "\(node["load"]?["connections"]?.integer ?? 0)",
      epoch == 0 ? "-" : "\(epoch)-\(sequence)", node["version"]?.string ?? "",
    ]
  }

  private static func state(_ node: JSONValue) -> String {
    if node["draining"]?.bool == true { return "draining" }
    return node["ready"]?.bool == true ? "ready" : "starting"
  }

  private static func revision(_ node: JSONValue) -> String {
    guard let number = node["revision"]?.integer, number > 0 else { return "-" }
    return node["kept"]?.bool == false ? "\(number) (not on disk)" : "\(number)"
  }

  private static func lag(_ microseconds: Int64) -> String {
    if microseconds == 0 { return "-" }
    let tenths = (microseconds + 50) / 100
    return "\(tenths / 10).\(tenths % 10)ms"
  }
}
