import Admin
import Core
import Gateway
import Glibc
import Net
import Pipeline

extension Verb {
  /// `sluice run`.
  static let run = Verb(
    "run", "[-c FILE]", summary: "a gateway node",
    description: """
      Serves until SIGTERM or SIGINT, which let requests in progress finish; a second one does not wait for them.
      SIGHUP reads the file again: a good one is taken over without dropping a request, a bad one changes nothing.
      SIGUSR1 opens the access log anew. With a store and a cluster secret routes, policies, upstreams and consumers are
      the cluster's: a revision, which sluice apply changes on all nodes; the file says them for the first node only.
      """,
    options: [
      Option("--config", "-c", value: "FILE", "the configuration; sluice.json unless given"),
      Option("--quiet", "-q", "says nothing but errors"),
    ],
    examples: ["sluice run -c sluice.json"]
  ) { (arguments: Arguments) throws(UsageError) -> ExitStatus in
    try RunningNode.run(arguments, usualFile: "sluice.json", read: ConfigurationFile.read)
  }

  /// `sluice router`.
  static let router = Verb(
    "router", "[-c FILE]", summary: "the router before the nodes",
    description: """
      Shares requests out among the nodes of a cluster: those that its members' list names, or those of the file. Retries
      elsewhere what no node has begun to answer. Keeps to the nodes that it knew last where the store is gone. The file has
      the sections node, listeners, accessLog, admin, store and cluster as a node's has, and router. SIGTERM lets requests in
      progress finish, SIGHUP reads the file again, SIGUSR1 opens the access log anew.
      """,
    options: [
      Option("--config", "-c", value: "FILE", "the configuration; router.json unless given"),
      Option("--quiet", "-q", "says nothing but errors"),
    ],
    examples: ["sluice router -c router.json"]
  ) { (arguments: Arguments) throws(UsageError) -> ExitStatus in
    try RunningNode.run(arguments, usualFile: "router.json", read: ConfigurationFile.readRouter)
  }
}

/// A node, or a router, as the main thread of a process.
private enum RunningNode {
  static func run(
    _ arguments: Arguments, usualFile: String, read load: @escaping @Sendable (String) -> NodeFile
  ) throws(UsageError) -> ExitStatus {
    guard arguments.operands.isEmpty else {
      throw UsageError("unexpected \(arguments.operands[0]); name the file with -c")
    }
    let (file, isQuiet) = (arguments.value("--config") ?? usualFile, arguments.has("--quiet"))
    let read = load(file)
    for diagnostic in read.diagnostics where !isQuiet || diagnostic.severity == .error {
      report(diagnostic.text(file: file))
    }
    guard let blueprint = read.blueprint else { return .failed }
    for remark in ConfigurationFile.remarks(on: blueprint, beside: file) where !isQuiet {
      report(remark.text(file: file))
    }
    ProcessLimits.raiseDescriptors()
    do throws(NetworkError) {
      let admin = try Mailbox<AdminServer.Message>()
      let sources = NodeSources(
        file: file, read: { load(file) },
        content: { ConfigurationFile.content($0, beside: file) }, report: { if !isQuiet { report($0) } },
        service: { startAdmin($0, $1, mailbox: admin, started: $2) }, reloaded: { replaceAccess($0, mailbox: admin) })
      let node = try Node(
        blueprint, sources: sources, version: Program.version, processors: ProcessLimits.processors)
      guard let failure = node.run(blueprint, file: read) else { return .done }
      report(failure)
      return .failed
    } catch {
      report("cannot start: \(error)")
      return .failed
    }
  }

  private static func report(_ text: String) { Console.error("sluice: \(text)\n") }

  /// Makes the admin port believe the tokens of a configuration that was read again.
  private static func replaceAccess(_ blueprint: Blueprint, mailbox: Mailbox<AdminServer.Message>) {
    guard let settings = blueprint.admin else { return }
    mailbox.send(.replaceAccess(AdminAccess(tokens: settings.tokens, at: settings.address)))
  }

  /// Starts the admin port on a thread of its own.
  private static func startAdmin(
    _ node: Node, _ blueprint: Blueprint, mailbox: Mailbox<AdminServer.Message>,
    started: @escaping @Sendable (String?) -> Void
  ) {
    guard let settings = blueprint.admin else { return started(nil) }
    _ = OSThread.spawn(name: "admin") {
      do {
        let loop = try EventLoop()
        var server = try AdminServer(
          loop, at: settings.address, tokens: settings.tokens,
          routes: routes(of: node, isRouter: blueprint.isRouter),
          version: Program.version, post: { mailbox.send($0) },
          audit: { entry in node.agree { agent in agent?.audit.record(entry) } })
        started(nil)
        try loop.run(&server, mailbox: mailbox)
      } catch {
        started("cannot serve the admin port on \(settings.address): \(error)")
      }
    }
  }

  private static func routes(of node: Node, isRouter: Bool) -> [AdminRoute] {
    let own = AdminRoute.node(metrics: node.shared.metrics, facts: node.facts)
    if isRouter { return own }
    let consult: AdminRoute.ServerConsultation = { action in
      node.consult { agent, blueprint in action(agent, blueprint.authorizationServers) }
    }
    let directory: @Sendable () -> ConsumerNames = { node.shared.consumerNames }
    return own + AdminRoute.inquiries(node.inquire) + AdminRoute.cluster(node.agree)
      + AdminRoute.facts(consult, directory) + AdminRoute.audit(node.agree)
      + AdminRoute.configuration(ConfigurationService(node)) + AdminRoute.clients(consult, directory)
      + AdminRoute.tenants(
        ConfigurationService(node), metrics: node.shared.metrics, inquire: node.inquire, agree: node.agree,
        directory: directory)
  }
}
