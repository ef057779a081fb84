// What a node is given of its own: not the cluster's, not changed by `sluice apply`.
//
// All durations below are nanoseconds and all sizes bytes, in 64 bits: nothing on the way of a request converts.

import Core
import HTTP
import Pipeline

/// The section `node`.
public struct NodeSettings: Equatable, Sendable {
  /// What the node is called in the cluster; nil for the machine's name and the first port.
  public var name: String?
  /// By which address routers reach listeners that are open on all; nil for the one by which it reaches the store.
  public var advertise: IPAddress?
  /// Event loops; 0 for one a core.
  public var threads: Int
  /// How long a node that was told to stop lets requests finish, in nanoseconds.
  public var drain: Int64
  /// The user whose rights the process keeps once its ports are open; nil to keep those it was started with.
  public var user: String?
  /// The folder of what the node keeps over a restart; nil for the usual one.
  public var state: String?
  /// Whose `Forwarded`, `X-Forwarded-…` and trace fields are believed.
  public var trustedProxies: [IPNetwork]
  /// Bounds of everything that clients can make large, many or long.
  public var limits: NodeLimits

  init(_ options: inout OptionReader) {
    name = options.optionalValue(
      "name", .identifier, "What the node is called in the cluster. Left out, the machine's name and the first port."
    ) { OptionFormat.identifier($0) }
    advertise = options.optionalValue(
      "advertise", .ipAddress,
      "By which address of the machine routers reach listeners like 0.0.0.0:8080. Left out, the one by which the node "
        + "reaches the store."
    ) { IPAddress($0) }
    threads = Int(
      options.integer("threads", in: 0...1024, default: 0, "Event loops; 0 for one a core that the process may use."))
    let seconds = options.integer(
      "drainSeconds", in: 0...86_400, default: 30,
      "Seconds that requests in progress get to finish when the node is told to stop.")
    drain = seconds * 1_000_000_000
    user = options.optionalString(
      "user", "The user to become once all ports are open. Left out, the node keeps the rights it was started with.")
    state = options.optionalString(
      "state",
      "The folder for what a node of a cluster keeps over a restart: its last good revisions. Left out, $STATE_DIRECTORY, "
        + "else one below /var/lib/sluice as root, else below ~/.local/state/sluice.")
    trustedProxies = options.valueList(
      "trustedProxies", .network,
      "Proxies before the gateway: the client's address is taken from the Forwarded or X-Forwarded-For that they send, "
        + "and from nobody else's."
    ) { IPNetwork($0) }
    limits = NodeLimits(&options)
  }
}

/// Bounds of what one client can do to a node. Durations are in nanoseconds, sizes in bytes.
public struct NodeLimits: Equatable, Sendable {
  /// Bytes of a request line without its line end; beyond, 414.
  public var requestLineBytes: Int
  /// Field lines of a head; beyond, 431.
  public var fieldCount: Int
  /// Bytes of a head; beyond, 431.
  public var headBytes: Int
  /// Spellings of paths that are let through although servers disagree on what they mean; else 400.
  public var paths: PathTolerance
  /// Bytes of a request body where the route says nothing; beyond, 413.
  public var bodyBytes: Int64
  /// Client connections of the node, all loops together.
  public var connectionsPerNode: Int
  /// Client connections of one address; equal to ``connectionsPerNode`` where the file says nothing.
  public var connectionsPerAddress: Int
  /// Requests on one client connection; the last response says `Connection: close`.
  public var requestsPerConnection: UInt32
  /// Requests in progress at a time on one client connection of HTTP/2.
  public var streamsPerConnection: Int
  /// Connections of HTTP/2 that one address may lose in a minute for what it did on them, before others are refused.
  public var abusesPerAddress: Int32

  /// From the first byte of a head to its last, and for a PROXY header; beyond, 408.
  public var headTimeout: Int64
  /// The longest pause inside a request body; beyond, 408.
  public var bodyTimeout: Int64
  /// The longest pause of a client that takes nothing of its response.
  public var sendTimeout: Int64
  /// Bytes a second that a client must send of a body, averaged once ``rateGrace`` has passed; 0 for no minimum.
  public var minimumReceiveRate: Int64
  /// Bytes a second that a client must take of a response that waits for it, averaged likewise; 0 for no minimum.
  public var minimumSendRate: Int64
  /// How long a client may be below the minimum rates.
  public var rateGrace: Int64
  /// How long a client connection stays open between two requests.
  public var idleTimeout: Int64
  /// How long an upgraded connection may be silent in both directions.
  public var tunnelTimeout: Int64
  /// How long the gateway waits for a client to close after the last response, before it does so itself.
  public var lingerTimeout: Int64
  /// From the first byte of a request to the last of its response; `Int64.max` for no such limit.
  public var totalDeadline: Int64

  /// Reads `limits` and `timeouts` of the section `node`.
  init(_ options: inout OptionReader) {
    self.init()
    options.section("limits", "Sizes and counts that a client cannot exceed.") { readCounts(&$0) }
    options.section("timeouts", "How long a client may keep the node waiting.") { readTimeouts(&$0) }
  }

  /// The defaults.
  public init() {
    requestLineBytes = 8192
    fieldCount = 100
    headBytes = 65_536
    paths = []
    bodyBytes = 16 << 30
    connectionsPerNode = 65_536
    connectionsPerAddress = 65_536
    requestsPerConnection = 1_000_000
    streamsPerConnection = 128
    abusesPerAddress = 10
    headTimeout = 10_000_000_000
    bodyTimeout = 30_000_000_000
    sendTimeout = 60_000_000_000
    minimumReceiveRate = 240
    minimumSendRate = 240
    rateGrace = 10_000_000_000
    idleTimeout = 75_000_000_000
    tunnelTimeout = 3_600_000_000_000
    lingerTimeout = 5_000_000_000
    totalDeadline = .max
  }

  private mutating func readCounts(_ options: inout OptionReader) {
    requestLineBytes = Int(
      options.size("requestLine", default: 8192, in: 256...1_048_576, "The longest request line; beyond, 414."))
    fieldCount = Int(
      options.integer("fieldCount", in: 8...1000, default: 100, "The most header fields of a request; beyond, 431."))
    headBytes = Int(
      options.size(
        "head", default: 65_536, in: 1024...1_048_576, "The largest request head, all fields together; beyond, 431."))
    if options.bool(
      "allowEncodedSlashes", default: false,
      "Lets %2F and %5C in a path through, inside a segment; for APIs that put names with slashes into one segment.")
    {
      paths.insert(.encodedSlashes)
    }
    if options.bool("allowEmptySegments", default: false, "Lets two slashes in a row in a path through.") {
      paths.insert(.emptySegments)
    }
    bodyBytes = options.size(
      "body", default: bodyBytes, "The largest request body where the route sets no limit of its own; beyond, 413.")
    let perNode = options.integer(
      "connectionsPerNode", in: 1...16_777_216, default: 65_536,
      "Client connections of the node. When they are used up, those that make the node wait are closed first.")
    let perAddress = options.optionalInteger(
      "connectionsPerAddress", in: 1...16_777_216,
      "Client connections of one address. Left out, one address may have as many as the node.")
    connectionsPerNode = Int(perNode)
    connectionsPerAddress = Int(min(perAddress ?? perNode, perNode))
    requestsPerConnection = UInt32(
      options.integer(
        "requestsPerConnection", in: 1...4_294_967_295, default: 1_000_000,
        "Requests after which a client connection is closed, in good order; over HTTP/2, after which no further ones "
          + "are taken."))
    streamsPerConnection = Int(
      options.integer(
        "streamsPerConnection", in: 1...10_000, default: 128,
        "Requests in progress at a time on one client connection of HTTP/2; more are refused, and may be sent again."))
    abusesPerAddress = Int32(
      options.integer(
        "abusesPerAddress", in: 1...1_000_000, default: 10,
        "Connections of HTTP/2 that one address may lose in a minute for floods, rapid resets and the like; while it has lost "
          + "as many, it gets no others of HTTP/2."))
    minimumReceiveRate = options.size(
      "minimumReceiveRate", default: 240, in: 0...1_073_741_824,
      "Bytes a second that a client must send of its request body, on average; 0B for no minimum.")
    minimumSendRate = options.size(
      "minimumSendRate", default: 240, in: 0...1_073_741_824,
      "Bytes a second that a client must take of a response that waits for it, on average; 0B for no minimum.")
  }

  private mutating func readTimeouts(_ options: inout OptionReader) {
    headTimeout = options.nanoseconds(
      "head", default: .seconds(10), "From the first byte of a request head to its last; beyond, 408.")
    bodyTimeout = options.nanoseconds("body", default: .seconds(30), "The longest pause inside a request body.")
    sendTimeout = options.nanoseconds(
      "send", default: .seconds(60), "The longest pause of a client that takes nothing of its response.")
    rateGrace = options.nanoseconds(
      "rateGrace", default: .seconds(10), "How long a client may be slower than the minimum rates.")
    idleTimeout = options.nanoseconds(
      "idle", default: .seconds(75), "How long a client connection stays open between two requests.")
    tunnelTimeout = options.nanoseconds(
      "tunnel", default: .seconds(3600), "How long a WebSocket or another upgraded connection may be silent.")
    lingerTimeout = options.nanoseconds(
      "linger", default: .seconds(5), "How long the node waits for a client to close after the last response.")
    totalDeadline =
      options.optionalNanoseconds(
        "total", "From the first byte of a request to the last of its response. Left out, there is no such limit.")
      ?? .max
  }
}

extension OptionReader {
  /// Durations that a timeout may have: none that is over before it began, none beyond a year.
  private static let timeouts: ClosedRange<Duration> = .milliseconds(1)...(.seconds(31_536_000))

  /// A timeout, in nanoseconds.
  mutating func nanoseconds(_ key: String, default standard: Duration, _ help: String) -> Int64 {
    timeout(key, default: standard, help).wholeNanoseconds
  }

  /// A timeout.
  mutating func timeout(_ key: String, default standard: Duration, _ help: String) -> Duration {
    duration(key, default: standard, in: Self.timeouts, help)
  }

  /// A timeout, in nanoseconds, or nil where it is left out.
  mutating func optionalNanoseconds(_ key: String, _ help: String) -> Int64? {
    optionalDuration(key, in: Self.timeouts, help)?.wholeNanoseconds
  }
}

extension OptionFormat {
  static let network = OptionFormat("an address or a CIDR block", example: "10.0.0.0/8")
  static let ipAddress = OptionFormat("an IP address", example: "10.0.0.7")
  static let listenAddress = OptionFormat("an address to listen on", example: "0.0.0.0:8080")
  static let endpoint = OptionFormat("an address with a port", example: "127.0.0.1:9001")
  static let identifier = OptionFormat(
    "a name of letters, digits, - _ . and at most 128 bytes", example: "orders-v1",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")

  /// `text` where it has the form of ``identifier``.
  static func identifier(_ text: String) -> String? {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= 128, isLetterOrDigit(first) else { return nil }
    let isPlain = bytes.allSatisfy {
      isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
    }
    return isPlain ? text : nil
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (97...122).contains(byte | 0x20) || (48...57).contains(byte)
  }
}
