// What a router is told: the sections of its file, of which the nodes behind it are one upstream and one route.

import Cluster
import Core
import HTTP
import Pipeline
import Traffic

/// The section `router`: which nodes there are, and how requests are shared out among them.
struct RouterSettings: Sendable {
  /// What the nodes are called together, as an upstream and as a route.
  static let name = "nodes"
  /// What they are called where connections are passed on to them as they are.
  static let proxiedName = "nodes-proxied"
  /// Where a node says whether it takes requests.
  static let healthPath = RequestHead.reservedPath + "/ready"

  /// The nodes; none where the store says who they are.
  var nodes: UpstreamSpec
  /// The nodes where they expect a PROXY header before a connection that is passed on.
  var proxied: UpstreamSpec

  init(_ options: inout OptionReader) {
    let endpoints = EndpointSpec.list(
      &options, "nodes",
      "The nodes: \"10.0.0.7:8080\", \"node-1.internal:8080\", \"unix:/run/sluice.sock\". Left out, all members of the "
        + "cluster that take requests, as store and cluster say.")
    let proxiedEndpoints = EndpointSpec.list(
      &options, "proxiedNodes",
      "Where the nodes expect a PROXY header, for listeners with passThrough. Left out, as the members say.")
    nodes = UpstreamSpec(name: Self.name, endpoints: endpoints)
    nodes.balance =
      options.choice(
        "balance", default: Algorithm.leastRequest, "Who gets a request that has no affinity."
      ).balance
    let affinity: (key: HashKey, bound: Int)? = options.object(
      "affinity", shorthand: "by", "Gives all requests of one caller to one node, as long as it is not too busy."
    ) { affinity in
      let key = affinity.value(
        "by", .affinityKey, placeholder: HashKey?.none, "What tells callers apart: header:NAME, cookie:NAME or address."
      ) { HashKey(affinity: $0) }
      let bound = affinity.integer(
        "boundPercent", in: 100...10_000, default: 125,
        "A node that runs more requests than so many percent of the average, and eight, passes them on to the next one."
      )
      return key.map { ($0, Int(bound)) }
    }
    if let affinity {
      (nodes.balance, nodes.hashKey, nodes.boundPercent) = (.consistentHash, affinity.key, affinity.bound)
    }
    nodes.setUsual()
    nodes.readConduct(&options)
    // Its health check could not know who asks; what fails is left alone all the same.
    proxied = nodes
    (proxied.name, proxied.endpoints, proxied.health) = (Self.proxiedName, proxiedEndpoints, nil)
    // What is passed on has its own.
    proxied.tls = nil
    proxied.hashKey = .address
  }

  private enum Algorithm: String, CaseIterable {
    case leastRequest = "least-request"
    case roundRobin = "round-robin"
    case latency
    case random

    var balance: Balance {
      switch self {
      case .leastRequest: .leastRequest
      case .roundRobin: .roundRobin
      case .latency: .latency
      case .random: .random
      }
    }
  }
}

extension UpstreamSpec {
  /// Nodes are many of a kind, so a failure speaks against the node: it is left alone at once, briefly, and what failed goes
  /// elsewhere, also what waits for a node that does not answer when asked for its health. How long a request may take is the
  /// nodes' business.
  fileprivate mutating func setUsual() {
    var health = HealthSpec(path: RouterSettings.healthPath)
    (health.interval, health.timeout) = (.milliseconds(500), .milliseconds(500))
    (health.healthyThreshold, health.unhealthyThreshold) = (1, 2)
    self.health = health
    leavesUnwell = true
    var ejection = EjectionSpec()
    (ejection.consecutiveFailures, ejection.baseTime, ejection.maxTime) = (1, .seconds(1), .seconds(10))
    ejection.maxPercent = 100
    self.ejection = ejection
    (retries.attempts, retries.budgetPercent, retries.budgetMinimum) = (3, 100, 100)
    (timeouts.connect, timeouts.response, timeouts.idle) = (.milliseconds(500), .seconds(3600), .seconds(3600))
    slowStart = .seconds(3)
  }
}

extension HashKey {
  /// Reads what a router can tell callers apart by: it knows no consumers.
  fileprivate init?(affinity text: String) {
    guard text != "consumer" else { return nil }
    self.init(text: text)
  }
}

extension OptionFormat {
  fileprivate static let affinityKey = OptionFormat(
    "address, header:NAME or cookie:NAME", example: "header:X-API-Key",
    pattern: "^(address|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")
}

/// The sections of a router's file.
struct RouterFile {
  /// What no other file has.
  static let section = "router"

  let own: NodeSections
  let router: RouterSettings

  init(_ options: inout OptionReader) {
    _ = options.optionalString("$schema", BlueprintFile.schemaHelp)
    own = NodeSections(&options, isRouter: true)
    router = options.section(Self.section, "The nodes, and how requests are shared out among them.") {
      RouterSettings(&$0)
    }
    let passes = own.listeners.contains(where: \.passesThrough)
    let needsList = router.nodes.endpoints.isEmpty || passes && router.proxied.endpoints.isEmpty
    // Where references may lead nowhere, that there is a store, and a section for the secret, must do.
    let isGiven = options.session.toleratesMissingSecrets && options.has("store") && options.has("cluster")
    guard !options.isDescribing, needsList, !own.hasRevisions, !isGiven else { return }
    options.session.fail(
      "nothing says where the nodes are", at: options.place(of: "router"),
      fix: "add router: { nodes: […] }, or store and cluster.secret as the nodes have them")
  }

  /// The nodes as an upstream, and the route that takes everything to it. Bodies and times are the nodes' to bound.
  var sections: ClusterSections {
    var route = RouteDraft()
    route.id = RouterSettings.name
    route.action = .forward(WeightedSplit(upstream: 0), sticky: nil)
    return ClusterSections(upstreams: [router.nodes, router.proxied], routes: [route])
  }
}

extension Blueprint {
  /// Reads a router's file, as ``read(text:secrets:)`` does a node's.
  public static func readRouter(text: [UInt8], secrets: @escaping SecretResolver)
    -> (blueprint: Blueprint?, diagnostics: [Diagnostic])
  {
    readRouter(text: text, secrets: secrets, toleratesMissingSecrets: false)
  }

  /// See ``read(text:secrets:toleratesMissingSecrets:)``.
  static func readRouter(text: [UInt8], secrets: @escaping SecretResolver, toleratesMissingSecrets: Bool)
    -> (blueprint: Blueprint?, diagnostics: [Diagnostic])
  {
    read(text, secrets, isTolerant: toleratesMissingSecrets, isRouter: true) { options in
      let file = RouterFile(&options)
      return (file.own, file.sections)
    }
  }
}
