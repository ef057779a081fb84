// The closed label sets. Adding a case is all it takes: the layout and the exposition follow `allCases`.

import Pipeline

/// What a loop counts without labels.
public enum Counter: UInt8, CaseIterable, Sendable {
  /// Client connections taken and kept.
  case connectionsAccepted
  /// Client connections that are gone again.
  case connectionsClosed
  /// Connections that became tunnels (Upgrade, CONNECT).
  case tunnelsOpened
  /// Tunnels that are gone again.
  case tunnelsClosed
  /// Requests whose head was complete.
  case requestsStarted
  /// Requests that have ended, however.
  case requestsEnded
  /// Bytes that clients sent.
  case clientBytesReceived
  /// Bytes sent to clients.
  case clientBytesSent
  /// Bytes that upstreams sent.
  case upstreamBytesReceived
  /// Bytes sent to upstreams.
  case upstreamBytesSent
  /// Connections opened to upstreams.
  case upstreamConnectionsOpened
  /// Upstream connections that are gone again.
  case upstreamConnectionsClosed
  /// Attempts to connect to an upstream that failed.
  case upstreamConnectFailures
  /// Requests sent on a connection that was already open.
  case upstreamConnectionsReused
  /// Requests that waited for a connection to their upstream.
  case upstreamRequestsQueued
  /// Responses that broke the rules or ended early.
  case upstreamResponsesBroken
  /// Times that an endpoint sent bytes behind the end of a response, or between two requests.
  case upstreamBytesUnasked
  /// Requests copied to a mirror.
  case requestsMirrored
  /// Times that accepting paused since descriptors had run out.
  case acceptPauses
  /// Turns of the loop.
  case turns
  /// Handshakes of TLS with all that belongs to them.
  case handshakesFull
  /// Handshakes that went on with a session of before.
  case handshakesResumed
  /// Client connections that speak HTTP/2.
  case http2Connections
  /// Their streams: requests over HTTP/2.
  case http2Streams
  /// Handshakes with upstreams that failed: most often a certificate that is not good.
  case upstreamHandshakeFailures
}

/// The node's own histograms.
public enum Latency: UInt8, CaseIterable, Sendable {
  /// From a complete request head to the first byte sent to an upstream, or to the gateway's own answer.
  case gateway
  /// From the first byte sent to an upstream to its response head.
  case upstream
  /// How long connecting to an upstream took.
  case connect
  /// How long one turn of the loop took: what the last event of a turn had to wait.
  case turn
}

/// Why a connection was closed as soon as it was accepted.
public enum ConnectionRefusal: UInt8, CaseIterable, Sendable {
  /// The node holds as many as it may.
  case nodeLimit
  /// The address holds as many as it may.
  case addressLimit
  /// The node drains.
  case draining
  /// A policy or the listener does not want this address.
  case denied
  /// The PROXY header was missing, broken or from a peer that is not trusted.
  case proxyHeader
  /// The address begins too many handshakes a second.
  case handshakeLimit
  /// The address has lost too many connections of HTTP/2 for what it did on them.
  case abuse
}

/// Why a handshake of TLS failed.
enum HandshakeFault: Int, CaseIterable {
  /// The bytes are no TLS: most often a request of plain HTTP.
  case notTLS
  /// Only versions that are not spoken here.
  case version
  /// No cipher, curve or signature in common.
  case noCommonCipher
  /// No application protocol in common.
  case noCommonProtocol
  /// The client showed no certificate, and had to.
  case certificateMissing
  /// The client's certificate is not good.
  case certificateRefused
  /// The client broke it off: most often it does not trust the server's certificate.
  case refusedByClient
  /// Anything else that breaks the rules.
  case malformed
  /// It took too long.
  case timedOut
  /// The client has gone.
  case abandoned
  /// The client sent more than a handshake takes.
  case tooLarge

  /// How metrics call it.
  var label: String { self == .notTLS ? "not_tls" : Metrics.snake("\(self)") }
}

/// Why a connection was given up before it ended by itself.
public enum ShedReason: UInt8, CaseIterable, Sendable {
  /// No request came for as long as a connection may idle.
  case idle
  /// The head did not arrive in time.
  case headTimeout
  /// The body did not arrive in time.
  case bodyTimeout
  /// The client did not read the response in time.
  case slowReader
  /// The total time of the request was over.
  case deadline
  /// The client sent what HTTP does not allow.
  case malformed
  /// Memory or slots had run short, and it had done least.
  case pressure
  /// The drain was over before the connection was.
  case drainEnded
  /// The peer reset it, or left in the middle.
  case peerGone
  /// The upstream broke off after the response had begun.
  case upstreamBroke
  /// A WebSocket message was longer than it may be.
  case messageTooBig
  /// Who was behind it is revoked.
  case revoked
  /// The token of who was behind it was over.
  case callerExpired
}

/// Why a request was sent once more.
public enum RetryReason: UInt8, CaseIterable, Sendable {
  /// No connection came about.
  case connectFailure
  /// The upstream closed or reset the connection without an answer.
  case reset
  /// The upstream took too long.
  case timeout
  /// The upstream answered with a status that may be retried.
  case status
  /// One was due, and the budget did not allow it.
  case overBudget
}

/// What a limiting policy decided.
public enum LimitOutcome: UInt8, CaseIterable, Sendable {
  /// Within every limit.
  case admitted
  /// Over at least one limit.
  case denied
  /// The store could not say, and the policy lets such requests pass.
  case failedOpen
  /// The store could not say, and the policy refuses such requests.
  case failedClosed
}

/// What a policy in shadow decided.
enum ShadowOutcome: UInt8, CaseIterable, CounterColumns {
  /// It would have let the request pass.
  case passed
  /// It would have refused it.
  case refused

  static let count = 2
}

/// What a policy in shadow has decided since the process began.
public struct ShadowFacts: Equatable, Sendable {
  /// What the policy is called.
  public let policy: String
  /// Requests that it would have let pass.
  public let passed: UInt64
  /// Requests that it would have refused.
  public let refused: UInt64
}

extension LimitSource {
  /// Its number among the cells of a loop, and its name as text that is never made.
  var label: (cell: Int, name: StaticString) {
    switch self {
    case .embedded: (0, "embedded")
    case .exact: (1, "exact")
    case .leased: (2, "leased")
    case .denyCache: (3, "denycache")
    case .local: (4, "local")
    case .open: (5, "open")
    case .closed: (6, "closed")
    }
  }
}

/// What a loop's part of a shared quota has done and how it stands: see `SharedQuotaStatistics`.
enum QuotaFigure: Int, CaseIterable {
  case calls, items, misses, leasedUnits, spentUnits, returnedUnits, heldUnits, recalls, openings, openBreakers
}

extension LimitOutcome: CounterColumns {
  static let count = 4
}

/// Where a loop's cells lie.
enum Cell {
  static let counters = 0
  static let refusedConnections = 32
  static let shedConnections = 48
  static let retries = 64
  static let decisions = 72
  static let histograms = 80
  /// The sum, then the buckets.
  static let histogramCells = 1 + 65
  static let quota = histograms + 4 * histogramCells
  static let handshakeFaults = quota + QuotaFigure.allCases.count
  static let http2Limits = handshakeFaults + HandshakeFault.allCases.count
  // A literal: another room's count would make this one, and every counter with it, wait for an initialiser.
  static let count = http2Limits + 16
}

/// Where the cells of a route lie: status classes (0 for none, 1xx to 5xx), the sum in nanoseconds, the buckets.
enum RouteColumn: CounterColumns {
  static let classes = 6
  static let sum = 6
  static let buckets = 7
  static let count = 7 + 65
}
