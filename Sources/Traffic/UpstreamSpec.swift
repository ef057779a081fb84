import Core

/// A group of endpoints that do the same work, as the file describes it. Immutable once built into an ``UpstreamPlan``.
public struct UpstreamSpec: Hashable, Sendable {
  /// Its name in the file.
  public var name: String
  /// Where it is served; at least one.
  public var endpoints: [EndpointSpec]
  /// How an endpoint is chosen.
  public var balance: Balance = .roundRobin
  /// What consistent hashing hashes; other ways of balancing ignore it.
  public var hashKey: HashKey = .address
  /// With consistent hashing: an endpoint that runs more requests than so many percent of the average, at least 100, passes
  /// on what it would get; nil for never.
  public var boundPercent: Int?
  /// Active checks; nil for none.
  public var health: HealthSpec?
  /// Whether requests that wait for an endpoint go elsewhere once its health check fails.
  public var leavesUnwell = false
  /// Passive ejection; nil for none.
  public var ejection: EjectionSpec?
  /// Retries.
  public var retries = RetrySpec()
  /// Bounds of the whole upstream on this node.
  public var breaker = BreakerSpec()
  /// Bounds of kept connections.
  public var pool = PoolSpec()
  /// How long an endpoint that joins or recovers is led to its full share; nil for at once.
  public var slowStart: Duration?
  /// If fewer than this percentage of the endpoints is available, all are used as if they were: better a try than none.
  /// 0...100; with the default only when (almost) none is left.
  public var panicPercent = 10
  /// How names are looked up again.
  public var resolution = ResolutionSpec()
  /// Time limits.
  public var timeouts = UpstreamTimeouts()
  /// Whether its endpoints are spoken HTTP/2 to.
  public var speaksHTTP2 = false
  /// How its endpoints are spoken TLS to; nil for plain HTTP.
  public var tls: UpstreamTLS?

  /// An upstream with defaults for all the rest.
  public init(name: String, endpoints: [EndpointSpec]) {
    self.name = name
    self.endpoints = endpoints
  }
}

/// One endpoint as the file describes it; a name may stand for several addresses.
public struct EndpointSpec: Hashable, Sendable {
  /// Where it is.
  public var address: EndpointAddress
  /// Its share against the others, ``weights``.
  public var weight: Int

  /// The weights that an endpoint may have.
  public static let weights = 1...1000

  /// An endpoint.
  public init(address: EndpointAddress, weight: Int = 1) {
    self.address = address
    self.weight = weight
  }
}

/// The place of an endpoint, known or to be looked up.
public enum EndpointAddress: Hashable, Sendable {
  /// An address.
  case socket(SocketAddress)
  /// A name, looked up at the start and then again and again.
  case name(String, port: UInt16)
}

/// How an endpoint is chosen; the raw values are those of the file.
public enum Balance: String, CaseIterable, Sendable {
  /// In turn, by weight, smoothly mixed.
  case roundRobin = "round-robin"
  /// Of two drawn by weight, the one with fewer requests running for its weight.
  case leastRequest = "least-request"
  /// Of two drawn by weight, the one with the lower peak latency times requests running.
  case latency
  /// The same endpoint for the same key, as long as it is there.
  case consistentHash = "consistent-hash"
  /// Drawn by weight.
  case random
}

/// What consistent hashing hashes. Where the request lacks it, the client's address serves.
public enum HashKey: Hashable, Sendable {
  /// The consumer.
  case consumer
  /// The client's address.
  case address
  /// The value of a header field.
  case header(String)
  /// The value of a cookie.
  case cookie(String)
}

/// Active health checks of an upstream.
public struct HealthSpec: Hashable, Sendable {
  /// The path to ask for with GET; empty where ``grpcService`` is asked for.
  public var path: String
  /// The service that is asked for by the health protocol of gRPC, empty for the server as a whole; nil for plain HTTP.
  public var grpcService: String?
  /// The Host to send; nil for the endpoint's address.
  public var host: String?
  /// Time between the starts of two checks of one endpoint.
  public var interval: Duration = .seconds(5)
  /// How much of the interval, in percent (0...100), is drawn anew each time, so that checks do not march in step.
  public var jitterPercent = 20
  /// How long a check may take.
  public var timeout: Duration = .seconds(2)
  /// Good checks in a row that make an unhealthy endpoint healthy; at least 1.
  public var healthyThreshold = 2
  /// Bad checks in a row that make a healthy endpoint unhealthy; at least 1.
  public var unhealthyThreshold = 3
  /// The statuses that count as good.
  public var statuses: ClosedRange<Int> = 200...299

  /// Checks of `path` with defaults for all the rest.
  public init(path: String) { self.path = path }
}

/// Passive ejection: an endpoint that fails request after request gets none for a while.
public struct EjectionSpec: Hashable, Sendable {
  /// Failures in a row that eject; at least 1.
  public var consecutiveFailures = 5
  /// How long the first time; each further time within reach of the last as much longer.
  public var baseTime: Duration = .seconds(30)
  /// The longest time.
  public var maxTime: Duration = .seconds(300)
  /// How many of the endpoints, in percent (0...100), may be out at once. At least one may, but never the last one.
  public var maxPercent = 50

  /// Ejection with the defaults.
  public init() {}
}

/// Bounds of an upstream on this node, all loops together.
public struct BreakerSpec: Hashable, Sendable {
  /// Connections open or being opened.
  public var maxConnections = 10_000
  /// Requests that wait for a connection.
  public var maxPending = 1_000
  /// Requests that run or wait.
  public var maxRequests = 100_000

  /// The default bounds.
  public init() {}
}

/// Bounds of kept connections, on each loop.
public struct PoolSpec: Hashable, Sendable {
  /// Connections to one endpoint, idle or not.
  public var maxConnectionsPerEndpoint = 1_024
  /// Idle connections kept to one endpoint.
  public var maxIdlePerEndpoint = 1_024
  /// How long an idle connection is kept: less than the upstream's own limit, or requests meet closed connections.
  public var idleTimeout: Duration = .seconds(55)
  /// Requests after which a connection is closed; 0 for no bound.
  public var maxRequestsPerConnection = 0

  /// The default bounds.
  public init() {}
}

/// How names of endpoints are looked up again.
public struct ResolutionSpec: Hashable, Sendable {
  /// Time between a good answer and the next question.
  public var interval: Duration = .seconds(30)
  /// Time between a failure and the next question.
  public var retryInterval: Duration = .seconds(5)
  /// Addresses used of one name; what is beyond is ignored.
  public var maxAddresses = 64

  /// The default pace.
  public init() {}
}

/// Time limits towards an upstream.
public struct UpstreamTimeouts: Hashable, Sendable {
  /// Until a connection stands.
  public var connect: Duration = .seconds(1)
  /// From the end of the request to the head of the response.
  public var response: Duration = .seconds(15)
  /// Without a byte in either direction once the response has begun.
  public var idle: Duration = .seconds(60)

  /// The default limits.
  public init() {}
}
