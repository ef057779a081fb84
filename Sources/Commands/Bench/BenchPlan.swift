import Core
import Crypto
import HTTP

/// What a run of the load generator does; checked, immutable, shared by its threads.
struct BenchPlan: Sendable {
  /// When a run ends.
  enum Extent: Equatable, Sendable {
    /// So many nanoseconds after the warm-up.
    case nanoseconds(Int64)
    /// After so many requests; there is no warm-up then.
    case requests(UInt64)
  }

  /// The most connections: a slot is some 150 bytes, and Linux has few more ports to one address.
  static let connectionLimit = 100_000
  /// The most threads; beyond the cores of any machine they only wait for each other.
  static let threadLimit = 256
  /// The highest rate that can be asked for; one thread of a fast machine holds about half a million a second.
  static let rateLimit = 100_000_000.0
  /// The most requests that one connection sends without waiting.
  static let pipelineLimit = 256
  /// The most streams of one connection.
  static let streamLimit = 256

  var targets: [BenchTarget]
  /// The request for each target up to where a key stands, and what follows the key.
  var requests: [BenchRequest]
  var method = Method.get
  var keys: [[UInt8]] = []
  var connections = 64
  var threads = 1
  var pipeline = 1
  /// Requests a second of the open loop; nil for a closed loop.
  var rate: Double?
  var extent = Extent.nanoseconds(10_000_000_000)
  var warmupNanoseconds: Int64 = 0
  var timeoutNanoseconds: Int64 = 5_000_000_000
  /// The length of the parts of the run that have figures of their own.
  var intervalNanoseconds: Int64 = 1_000_000_000
  var keepsAlive = true
  /// Whether HTTP/2 is spoken, and how many requests then go on at a time on one connection.
  var isMultiplexed = false
  var streams = 1
  /// How connections to places with a server name are secured, and whether sessions of before are resumed.
  var security: TLSClientContext?
  var resumes = true

  /// The distinct places, in the order of their first target.
  var places: [BenchPlace] {
    targets.reduce(into: []) { found, target in
      if !found.contains(target.place) { found.append(target.place) }
    }
  }

  /// Whether some connections are secured.
  var isSecure: Bool { targets.contains { $0.place.serverName != nil } }

  /// Whether nothing but cleartext HTTP/1.1 is spoken.
  var isPlain: Bool { !isMultiplexed && !isSecure }

  /// What is spoken, as ALPN calls it.
  var protocolName: StaticString { isMultiplexed ? isSecure ? "h2" : "h2c" : "http/1.1" }
}

/// The bytes of a request; a key, where there are any, goes between the two halves.
struct BenchRequest: Equatable, Sendable {
  var beforeKey: [UInt8]
  var afterKey: [UInt8]
}

/// Where requests go and what they ask for.
struct BenchTarget: Equatable, Sendable {
  /// The URL as it was given.
  var url: String
  var place: BenchPlace
  /// The value of the Host field.
  var authority: String
  /// Path and query.
  var target: String
}

/// A URL taken apart, its host not yet looked up.
struct BenchURL: Equatable, Sendable {
  var text: String
  var place: AddressText
  var authority: String
  var target: String
  /// The host, where the scheme is https.
  var serverName: String?

  /// Reads `http://host[:port][/path]`, the same with https or without a scheme, or `unix:/socket[:/path]`.
  init(_ text: String) throws(UsageError) {
    self.text = text
    guard text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
      throw UsageError("URL \(text): holds a space, a control character or non-ASCII; percent-encode it")
    }
    var rest = text.prefix { $0 != "#" }
    if rest.hasPrefix("unix:") {
      let parts = rest.dropFirst(5).split(separator: ":", maxSplits: 1)
      guard let path = parts.first, let place = AddressText("unix:\(path)"), path.hasPrefix("/") else {
        throw UsageError("URL \(text): give the path of a socket, as in unix:/run/api.sock:/orders")
      }
      self.place = place
      authority = "localhost"
      target = try Self.target(parts.count > 1 ? parts[1] : "", of: text)
      return
    }
    let isSecure = rest.hasPrefix("https://")
    if isSecure { rest = rest.dropFirst(8) } else if rest.hasPrefix("http://") { rest = rest.dropFirst(7) }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let host = String(rest[..<end])
    guard !host.contains("@") else { throw UsageError("URL \(text): give credentials with --header, not in the URL") }
    guard let place = AddressText(host) ?? AddressText("\(host):\(isSecure ? 443 : 80)"), !host.isEmpty else {
      throw UsageError("URL \(text): give an address such as http://127.0.0.1:8080/orders")
    }
    self.place = place
    if isSecure { serverName = Self.name(of: place) }
    authority = host
    target = try Self.target(rest[end...], of: text)
  }

  /// What a server's certificate must be good for.
  private static func name(of place: AddressText) -> String {
    switch place {
    case .name(let host, port: _): host
    case .socket(.ip(let address, port: _)): address.description
    case .socket(let address): address.description
    }
  }

  private static func target(_ part: Substring, of text: String) throws(UsageError) -> String {
    if part.isEmpty { return "/" }
    if part.hasPrefix("?") { return "/\(part)" }
    guard part.hasPrefix("/") else { throw UsageError("URL \(text): the path must begin with a slash") }
    return String(part)
  }

  /// The same place, another path.
  func with(target: String) throws(UsageError) -> BenchURL {
    var other = self
    guard target.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
      throw UsageError("path \(target): holds a space, a control character or non-ASCII; percent-encode it")
    }
    other.target = target
    other.text = "\(authority)\(target)"
    return other
  }
}

/// What all requests of a run have in common, from which the bytes of each are built once.
struct BenchRequestShape: Sendable {
  var method = "GET"
  /// `Name: value` lines without their ends.
  var fields: [String] = []
  var body: [UInt8] = []
  /// The field that carries the key, with whatever stands before the key in its value: `X-API-Key: `.
  var keyField: String?
  var keepsAlive = true

  /// The request for one target.
  func request(for authority: String, target: String) -> BenchRequest {
    var head = "\(method) \(target) HTTP/1.1\r\n"
    let names = fields.compactMap { $0.split(separator: ":").first?.lowercased() }
    if !names.contains("host") { head += "Host: \(authority)\r\n" }
    for field in fields { head += "\(field)\r\n" }
    if !body.isEmpty || ["POST", "PUT", "PATCH"].contains(method) { head += "Content-Length: \(body.count)\r\n" }
    if !keepsAlive && !names.contains("connection") { head += "Connection: close\r\n" }
    guard let keyField else {
      return BenchRequest(beforeKey: Array("\(head)\r\n".utf8) + body, afterKey: [])
    }
    return BenchRequest(beforeKey: Array("\(head)\(keyField)".utf8), afterKey: Array("\r\n\r\n".utf8) + body)
  }
}
