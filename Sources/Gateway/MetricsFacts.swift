import Cluster
import Core
import Traffic

/// What the exposition says and no loop counts: gathered by whoever knows, at the moment of asking.
public struct NodeFacts: Sendable {
  /// The version of the program.
  public var version = ""
  /// When the process began.
  public var startedAt = WallTime(microseconds: 0)
  /// The revision of the configuration in force; 0 where there are none.
  public var revision: UInt64 = 0
  /// Whether the node takes no new work.
  public var isDraining = false
  /// Whether requests can be answered: a configuration is in force and every listener is open.
  public var isReady = false
  /// Lines handed to the access log's writer.
  public var accessLogLines: UInt64 = 0
  /// Lines lost since the writer could not keep up or write.
  public var accessLogDropped: UInt64 = 0
  /// The cluster; nil where the node has none.
  public var cluster: ClusterFacts?
  /// Every endpoint of every upstream.
  public var upstreams: [UpstreamFacts] = []
  /// Every upstream as a whole.
  public var loads: [UpstreamLoad] = []
  /// Every certificate that listeners show.
  public var certificates: [CertificateFacts] = []
  /// Every issuer whose keys are fetched.
  public var issuers: [IssuerFacts] = []

  /// Facts of a node of which nothing is known yet.
  public init() {}
}

/// The state of a certificate that listeners show.
public struct CertificateFacts: Equatable, Sendable {
  /// What its authority says of it, where that is fetched.
  public struct Staple: Equatable, Sendable {
    /// Until when it holds; nil where there is none, or it has no end.
    public let endsAt: WallTime?
    /// Whether there is one, which is sent with the certificate.
    public let isThere: Bool
    /// Why the last question has brought none; nil where it has.
    public let fault: String?
  }

  /// The path of its file.
  public let certificate: String
  /// Until when it is good.
  public let expiresAt: WallTime
  /// What its authority says of it; nil where nobody is asked.
  public var staple: Staple?

  /// A certificate of which nobody is asked.
  public init(certificate: String, expiresAt: WallTime) {
    (self.certificate, self.expiresAt) = (certificate, expiresAt)
  }
}

/// The state of an issuer whose keys are fetched.
public struct IssuerFacts: Equatable, Sendable {
  /// What people call it.
  public let issuer: String
  /// How many keys are known.
  public let keys: Int
  /// When they were fetched; nil where that has not happened yet.
  public let fetchedAt: WallTime?
  /// Why the last question has brought none; nil where it has.
  public let fault: String?
  /// Questions that have brought keys.
  public let successes: UInt64
  /// Questions that have not.
  public let failures: UInt64
}

/// The state of one endpoint of an upstream.
public struct UpstreamFacts: Sendable {
  /// The upstream's name.
  public var upstream: String
  /// The endpoint's address as text.
  public var endpoint: String
  /// Whether active checks, if there are any, find it alive.
  public var isHealthy = true
  /// Whether passive observation has taken it out for a while.
  public var isEjected = false
  /// Requests in progress on it.
  public var activeRequests: UInt64 = 0
  /// Requests it has received.
  public var requests: UInt64 = 0
  /// Requests that failed on it: no connection, no answer, or an answer that counts as a failure.
  public var failures: UInt64 = 0
  /// How often it was taken out.
  public var ejections: UInt64 = 0

  /// An endpoint that is fine and has seen nothing yet.
  public init(upstream: String, endpoint: String) {
    self.upstream = upstream
    self.endpoint = endpoint
  }
}

/// The state of an upstream as a whole.
public struct UpstreamLoad: Sendable {
  /// The upstream's name.
  public var upstream: String
  /// Connections that are open or being opened.
  public var connections: UInt64 = 0
  /// Requests that wait for a connection.
  public var pendingRequests: UInt64 = 0
  /// Requests that a bound of the circuit breaker refused.
  public var overflows: UInt64 = 0
  /// Retries begun.
  public var retries: UInt64 = 0
  /// Retries that the budget refused.
  public var refusedRetries: UInt64 = 0

  /// An upstream that has seen nothing yet.
  public init(upstream: String) { self.upstream = upstream }
}

extension NodeFacts {
  /// Adds what is known of these upstreams and their endpoints. `sets` hold each upstream once.
  public mutating func add(_ sets: [EndpointSet], at now: Instant) {
    for set in sets {
      var load = UpstreamLoad(upstream: set.state.name)
      load.connections = UInt64(max(set.state.connections, 0))
      load.pendingRequests = UInt64(max(set.state.pending, 0))
      load.overflows = set.state.overflows
      load.retries = set.state.retriesBegun
      load.refusedRetries = set.state.retriesRefused
      loads.append(load)
      for endpoint in set.endpoints {
        let state = endpoint.state
        var facts = UpstreamFacts(upstream: set.state.name, endpoint: state.address.description)
        facts.isHealthy = state.health != .unhealthy
        facts.isEjected = state.ejectedUntil > now
        facts.activeRequests = UInt64(max(state.activeRequests, 0))
        facts.requests = state.requests
        facts.failures = state.failures
        facts.ejections = state.ejections
        upstreams.append(facts)
      }
    }
  }
}
