import Core
import HTTP
import Pipeline
import Traffic

extension UpstreamSpec {
  /// Reads one member of `upstreams`.
  init(_ options: inout OptionReader, name: String) {
    let endpoints = EndpointSpec.list(
      &options, "endpoints", isRequired: true,
      "Its members: \"127.0.0.1:9001\", \"orders.internal:80\", \"unix:/run/orders.sock\", or objects with a weight.")
    self.init(name: name, endpoints: endpoints)
    ejection = EjectionSpec()
    (balance, hashKey, boundPercent) = options.balance()
    readConduct(&options)
  }

  /// Reads how its endpoints are dealt with. What is left out stays as it is.
  mutating func readConduct(_ options: inout OptionReader) {
    let standard = health
    health =
      options.object(
        "health", shorthand: "path",
        "Asks every endpoint in turn whether it is well."
          + (standard == nil ? " Left out, none is asked." : " Left out, for \(standard?.path ?? "").")
      ) { HealthSpec(&$0, standard) } ?? standard
    let usual = ejection ?? EjectionSpec()
    ejection = options.section("ejection", "Leaves an endpoint alone for a while when requests to it keep failing.") {
      EjectionSpec.read(&$0, usual)
    }
    let tries = retries
    retries = options.section(
      "retries",
      "Tries a failed request again, elsewhere if there is another endpoint. Only where that is safe: the "
        + "method is idempotent, or nothing was sent."
    ) { RetrySpec(&$0, tries) }
    slowStart =
      options.optionalDuration(
        "slowStart", in: .milliseconds(1)...(.seconds(86_400)),
        "How long an endpoint that is new or back takes to get its full share. Left out, "
          + (slowStart.map { "\($0.wholeNanoseconds / 1_000_000_000)s." } ?? "it has it at once.")) ?? slowStart
    panicPercent = Int(
      options.integer(
        "panicPercent", in: 0...100, default: Int64(panicPercent),
        "If fewer percent of the endpoints than this are well, all are used: better a try than none."))
    let limits = timeouts
    timeouts = options.section("timeouts", "How long an endpoint may take.") { UpstreamTimeouts(&$0, limits) }
    resolution.interval = options.timeout(
      "resolveInterval", default: .seconds(30), "How often the host names among the endpoints are looked up again.")
    options.section("limits", "How much of the gateway a slow upstream can take.") { readLimits(&$0) }
    speaksHTTP2 =
      options.choice(
        "protocol", default: UpstreamProtocol.http1,
        "http/1.1: one exchange on a connection at a time. h2: HTTP/2, many on few connections; with tls by ALPN, else with "
          + "prior knowledge. The bounds of connections are then bounds of exchanges.") == .http2
    if health?.grpcService != nil, !speaksHTTP2 {
      options.fail("gRPC needs HTTP/2", at: "health", fix: "add protocol: \"h2\" to the upstream")
    }
    let speaks = speaksHTTP2
    tls = options.object("tls", "Speaks TLS to its endpoints, as {} says; left out, plain HTTP.") {
      UpstreamTLS(&$0, speaksHTTP2: speaks)
    }
  }

  private mutating func readLimits(_ options: inout OptionReader) {
    func count(_ key: String, in range: ClosedRange<Int64>, default standard: Int, _ help: String) -> Int {
      Int(options.integer(key, in: range, default: Int64(standard), help))
    }
    breaker.maxConnections = count(
      "connections", in: 1...1_048_576, default: breaker.maxConnections,
      "Connections to all its endpoints at the same time; beyond, requests wait for one.")
    breaker.maxPending = count(
      "pending", in: 0...1_048_576, default: breaker.maxPending,
      "Requests that wait for a connection; beyond, they are refused with 503.")
    breaker.maxRequests = count(
      "requests", in: 1...1_048_576, default: breaker.maxRequests, "Requests that run or wait; beyond, 503.")
    pool.maxConnectionsPerEndpoint = count(
      "connectionsPerEndpoint", in: 1...1_048_576, default: pool.maxConnectionsPerEndpoint,
      "Connections of one event loop to one endpoint.")
    pool.maxIdlePerEndpoint = count(
      "idlePerEndpoint", in: 0...65_536, default: pool.maxIdlePerEndpoint,
      "Unused connections that one event loop keeps to one endpoint.")
    pool.idleTimeout = options.timeout(
      "idleTimeout", default: pool.idleTimeout,
      "How long an unused connection is kept. Less than the endpoint keeps it, or requests meet closed connections.")
    pool.maxRequestsPerConnection = count(
      "requestsPerConnection", in: 0...1_000_000_000, default: pool.maxRequestsPerConnection,
      "Requests after which a connection is closed; 0 for no such limit.")
  }
}

extension EndpointSpec {
  /// Reads a list of endpoints.
  static func list(
    _ options: inout OptionReader, _ key: String, isRequired: Bool = false, _ help: String
  ) -> [EndpointSpec] {
    var addresses: Set<EndpointAddress> = []
    return options.objects(key, shorthand: "address", isRequired: isRequired, help) { reader in
      let endpoint = EndpointSpec(&reader)
      if let endpoint, !addresses.insert(endpoint.address).inserted {
        reader.fail(
          "this endpoint is there for the second time", at: "address",
          fix: "remove it; a weight gives the first one a larger share")
      }
      return endpoint
    }
  }

  init?(_ options: inout OptionReader) {
    let address = options.value(
      "address", .endpoint, placeholder: EndpointAddress?.none, "Host and port, or unix:/path."
    ) { EndpointAddress($0) }
    let weight = options.integer(
      "weight", in: Int64(Self.weights.lowerBound)...Int64(Self.weights.upperBound), default: 1,
      "Its share of the requests, relative to the others.")
    guard let address else { return nil }
    self.init(address: address, weight: Int(weight))
  }
}

extension EndpointAddress {
  init?(_ text: String) {
    switch AddressText(text) {
    case .socket(.ip(_, port: 0)), .name(_, port: 0), nil: return nil
    case .socket(let address): self = .socket(address)
    case .name(let host, let port): self = .name(host, port: port)
    }
  }
}

extension OptionReader {
  /// The option `balance`.
  fileprivate mutating func balance() -> (Balance, HashKey, Int?) {
    let help =
      "Who gets a request: round-robin, least-request (the default), latency, consistent-hash or random; consistent-hash "
      + "also as { by: \"header:X-User\" }."
    let read: (Balance, HashKey, Int?)? = object("balance", shorthand: "algorithm", help) { balance in
      let by = balance.optionalValue("by", .requestKey, "For consistent-hash: what is hashed.") { HashKey(text: $0) }
      let algorithm = balance.choice(
        "algorithm", default: by == nil ? Balance.leastRequest : .consistentHash, "How requests are shared out.")
      if by != nil, algorithm != .consistentHash {
        balance.fail("only consistent-hash hashes something", at: "by", fix: "remove \"by\", or the algorithm")
      }
      let bound = balance.optionalInteger(
        "boundPercent", in: 100...10_000,
        "For consistent-hash: an endpoint that runs more requests than so many percent of the average, and eight, passes "
          + "them on to the next one. Left out, it never does.")
      return (algorithm, by ?? .consumer, bound.map { Int($0) })
    }
    return read ?? (.leastRequest, .consumer, nil)
  }
}

extension HashKey {
  /// Reads `consumer`, `address`, `header:NAME` or `cookie:NAME`; nil for anything else.
  init?(text: String) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count) {
    case ("consumer", 1): self = .consumer
    case ("address", 1): self = .address
    case ("header", 2) where OptionFormat.isToken(parts[1]): self = .header(parts[1].lowercased())
    case ("cookie", 2) where OptionFormat.isToken(parts[1]): self = .cookie(String(parts[1]))
    default: return nil
    }
  }
}

extension HealthSpec {
  init(_ options: inout OptionReader, _ standard: HealthSpec? = nil) {
    self = standard ?? HealthSpec(path: "")
    let path = options.optionalString("path", "The path that is asked for, with GET.")
    grpcService = options.optionalString(
      "grpc",
      "The service that is asked for by the health protocol of gRPC (grpc.health.v1.Health/Check), instead of a path; "
        + "\"\" for the server as a whole. Well is who answers SERVING.")
    readTarget(path, &options)
    host = options.optionalString("host", "The Host of the request; left out, the endpoint's own.")
    interval = options.timeout("interval", default: interval, "From one question to the next.")
    jitterPercent = Int(
      options.integer(
        "jitterPercent", in: 0...100, default: Int64(jitterPercent),
        "How much of the interval is drawn anew each time, so that nodes do not ask in step."))
    timeout = options.timeout("timeout", default: timeout, "Until the answer must be there.")
    healthyThreshold = Int(
      options.integer(
        "healthyAfter", in: 1...100, default: Int64(healthyThreshold),
        "Good answers in a row that bring an endpoint back."))
    unhealthyThreshold = Int(
      options.integer(
        "unhealthyAfter", in: 1...100, default: Int64(unhealthyThreshold),
        "Bad ones in a row that take an endpoint out."))
    statuses = options.value(
      "statuses", .statuses, default: "200-299", placeholder: statuses, "Statuses that count as good."
    ) { text in
      let bounds = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard let first = bounds[0], let last = bounds.count == 1 ? first : bounds[1], bounds.count <= 2,
        first >= 100, last >= first, last <= 599
      else { return nil }
      return first...last
    }
    if timeout > interval {
      options.fail("an answer may take longer than from one question to the next", at: "timeout", fix: "shorten it")
    }
  }
}

extension HealthSpec {
  /// Checks what is asked for: one of a path and a service.
  private mutating func readTarget(_ path: String?, _ options: inout OptionReader) {
    if let path { self.path = path }
    if let grpcService {
      if path != nil {
        options.fail("gRPC has no path to ask for", at: "path", fix: "remove path, or grpc")
      }
      if grpcService.utf8.count > GRPCHealth.serviceBytes {
        options.fail(
          "the name of a service has \(GRPCHealth.serviceBytes) bytes at most", at: "grpc", fix: "shorten it")
      }
      self.path = ""
    } else if !self.path.hasPrefix("/") || self.path.contains(" "), !options.isDescribing {
      let (what, fix) =
        path.map { ("\"\($0)\" is not a path", "begin it with /, and write no blanks") }
        ?? ("nothing is asked for", "add path, or for a service of gRPC grpc")
      options.fail(what, at: "path", fix: fix)
    }
  }
}

extension EjectionSpec {
  /// Reads the section `ejection`; nil where it is switched off.
  static func read(_ options: inout OptionReader, _ standard: EjectionSpec) -> EjectionSpec? {
    var spec = standard
    spec.consecutiveFailures = Int(
      options.integer(
        "consecutiveFailures", in: 0...10_000, default: Int64(spec.consecutiveFailures),
        "Failures in a row (no connection, a reset, a time-out, 502 to 504) that eject an endpoint; 0 for never."))
    spec.baseTime = options.timeout(
      "baseTime", default: spec.baseTime, "For how long the first time; longer by as much each further time.")
    spec.maxTime = options.timeout(
      "maxTime", default: max(spec.maxTime, spec.baseTime), "For how long at most.")
    spec.maxPercent = Int(
      options.integer(
        "maxPercent", in: 0...100, default: Int64(spec.maxPercent),
        "Never are more than so many percent of the endpoints ejected, and never the last one."))
    if spec.maxTime < spec.baseTime {
      options.fail("maxTime is shorter than baseTime", at: "maxTime", fix: "make it at least as long")
    }
    return spec.consecutiveFailures == 0 ? nil : spec
  }
}

extension UpstreamTimeouts {
  init(_ options: inout OptionReader, _ standard: UpstreamTimeouts) {
    self = standard
    connect = options.timeout("connect", default: connect, "Until a connection stands; beyond, 504.")
    response = options.timeout(
      "response", default: response, "From the end of the request to the head of the response; beyond, 504.")
    idle = options.timeout(
      "idle", default: idle, "Without a byte in either direction once the response has begun.")
  }
}

extension OptionFormat {
  static let requestKey = OptionFormat(
    "consumer, address, header:NAME or cookie:NAME", example: "header:X-User",
    pattern: "^(consumer|address|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")
  static let statuses = OptionFormat(
    "a status or a range of them", example: "200-399", pattern: "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")

  /// Whether `text` is a token as field and cookie names are (RFC 9110 section 5.6.2).
  static func isToken(_ text: some StringProtocol) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { byte in
        (97...122).contains(byte | 0x20) || (48...57).contains(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
      }
  }
}

extension RetrySpec {
  init(_ options: inout OptionReader, _ standard: RetrySpec = RetrySpec()) {
    self = standard
    attempts = Int(
      options.integer(
        "attempts", in: Int64(Self.attemptRange.lowerBound)...Int64(Self.attemptRange.upperBound),
        default: Int64(attempts), "How often a request is tried again at most; 0 for never."))
    var conditions = RetryConditions()
    let format = OptionFormat(
      "a failure that can be tried again", example: "connect-failure\", \"reset\", \"timeout\", \"5xx\" or \"503",
      pattern: "^(connect-failure|reset|timeout|5xx|5[0-9][0-9])$")
    _ = options.valueList(
      "on", format, default: ["connect-failure", "reset"],
      "After what: connect-failure, reset, timeout, 5xx, or a status from 500 to 599."
    ) { name in conditions.insert(named: name) ? name : nil }
    self.conditions = conditions
    budgetPercent = Int(
      options.integer(
        "budgetPercent", in: 0...100, default: Int64(budgetPercent),
        "Retries may be so many percent of the requests that run, so that they never keep an upstream down."))
    budgetMinimum = Int(
      options.integer(
        "budgetMinimum", in: 0...1000, default: Int64(budgetMinimum),
        "Retries that may run at once however few requests run."))
  }
}

/// What endpoints are spoken to in, as the file names it.
private enum UpstreamProtocol: String, CaseIterable {
  case http1 = "http/1.1"
  case http2 = "h2"
}
