import Cluster
import Core
import Pipeline

/// The sections of a file that are the node's own, whatever the cluster decides.
public struct NodeSections: Equatable, Sendable {
  /// Their names.
  static let names = ["node", "listeners", "accessLog", "admin", "store", "cluster"]

  /// The node itself.
  public let node: NodeSettings
  /// Where clients connect; at least one.
  public let listeners: [ListenerSettings]
  /// Where the access log goes.
  public let accessLog: AccessLogSettings
  /// The admin port; nil for none.
  public let admin: AdminSettings?
  /// Where limits are counted.
  public let store: StoreSettings
  /// Whom the node counts together with.
  public let cluster: ClusterSettings

  /// Those of a node about which nothing is known: all its limits are the usual ones.
  static let usual: NodeSections = {
    let text = Array("{ listeners: [\"127.0.0.1:1\"] }".utf8)
    guard let sections = read(text: text, secrets: { _ in .failure(SecretFault("there are none")) }).sections else {
      preconditionFailure("the smallest file cannot be read")
    }
    return sections
  }()

  /// Whether the rest of its configuration is the cluster's: it shares a store, and has the secret that revisions are
  /// sealed and signed with.
  public var hasRevisions: Bool { store != .embedded && !cluster.secret.isEmpty }

  /// The same with other listeners.
  func replacing(listeners: [ListenerSettings]) -> NodeSections {
    NodeSections(
      node: node, listeners: listeners, accessLog: accessLog, admin: admin, store: store, cluster: cluster)
  }

  private init(
    node: NodeSettings, listeners: [ListenerSettings], accessLog: AccessLogSettings, admin: AdminSettings?,
    store: StoreSettings, cluster: ClusterSettings
  ) {
    (self.node, self.listeners, self.accessLog) = (node, listeners, accessLog)
    (self.admin, self.store, self.cluster) = (admin, store, cluster)
  }

  /// Reads those of a node, or of a router.
  init(_ options: inout OptionReader, isRouter: Bool = false) {
    node = options.section("node", "The node itself.") { NodeSettings(&$0) }
    var addresses: Set<SocketAddress> = []
    let listeners: [ListenerSettings] = options.objects(
      "listeners", shorthand: "address", isRequired: true, "The ports that clients connect to."
    ) { reader in
      let listener = ListenerSettings(&reader, isRouter: isRouter)
      if let listener, !addresses.insert(listener.address).inserted {
        reader.fail("another listener has this address", at: "address", fix: "remove one of the two")
      }
      return listener
    }
    self.listeners = listeners
    accessLog = AccessLogSettings.read(&options)
    admin = options.object("admin", "Metrics, health and the admin API. Left out, there is no such port.") {
      AdminSettings(&$0)
    }
    if let admin, listeners.contains(where: { $0.address == admin.address }) {
      options.session.fail(
        "a listener has this address", at: options.place(at: [.key("admin"), .key("address")]),
        fix: "give the admin port one of its own")
    }
    let store = StoreSettings.read(&options)
    let storePlace = options.place(of: "store")
    self.store = store
    cluster = options.section("cluster", "Whom this node counts limits together with.") {
      ClusterSettings(&$0, store: store, at: storePlace)
    }
  }

  /// Reads them out of a file, whose other sections are left aside. There are such sections exactly if none of the
  /// diagnostics is an error. `secrets` is asked for what `{ env: … }` and `{ file: … }` refer to.
  public static func read(text: [UInt8], secrets: @escaping SecretResolver)
    -> (sections: NodeSections?, diagnostics: [Diagnostic])
  {
    let session = OptionSession(text: text, secrets: secrets)
    let sections = session.readDocument(text) { options in
      _ = options.optionalString("$schema", BlueprintFile.schemaHelp)
      let sections = NodeSections(&options)
      options.ignore(ClusterSections.names)
      options.finish()
      return sections
    }
    return (session.errorCount == 0 ? sections : nil, session.diagnostics)
  }
}

extension OptionSession {
  /// What `body` makes of the outermost object of `text`, whose reading it has to finish; nil where there is none.
  func readDocument<T>(_ text: [UInt8], _ body: (inout OptionReader) -> T?) -> T? {
    let outcome = JSONDocument.parse(text)
    for fault in outcome.faults { record(fault) }
    guard let document = outcome.document else { return nil }
    var options = OptionReader(document.root, session: self)
    guard !options.isUnreadable else { return nil }
    return body(&options)
  }
}
