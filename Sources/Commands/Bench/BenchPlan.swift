import Core
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

  /// The distinct addresses, in the order of their first target.
  var addresses: [SocketAddress] {
    targets.reduce(into: []) { found, target in
      if !found.contains(target.address) { found.append(target.address) }
    }
  }
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
  var address: SocketAddress
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

  /// Reads `http://host[:port][/path]`, the same without the scheme, or `unix:/socket[:/path]`.
  init(_ text: String) throws(UsageError) {
    self.text = text
    guard text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
      throw UsageError("URL \(text): holds a space, a control character or non-ASCII; percent-encode it")
    }
    if text.hasPrefix("https://") {
      throw UsageError("URL \(text): https is not spoken yet; measure a plain http listener")
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
    if rest.hasPrefix("http://") { rest = rest.dropFirst(7) }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let host = String(rest[..<end])
    guard !host.contains("@") else { throw UsageError("URL \(text): give credentials with --header, not in the URL") }
    guard let place = AddressText(host) ?? AddressText("\(host):80"), !host.isEmpty else {
      throw UsageError("URL \(text): give an address such as http://127.0.0.1:8080/orders")
    }
    self.place = place
    authority = host
    target = try Self.target(rest[end...], of: text)
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
