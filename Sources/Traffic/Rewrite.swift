import Core

/// How the target of a request changes on its way to the upstream. Immutable; compiled once a route.
public struct Rewrite: Hashable, Sendable {
  /// What becomes of Host.
  public enum Host: Hashable, Sendable {
    /// The client's value goes on.
    case keep
    /// The address of the chosen endpoint, as the upstream names it.
    case endpoint
    /// This value.
    case set(String)
  }

  /// A query parameter to set.
  public struct QuerySetting: Hashable, Sendable {
    /// Its name, decoded.
    public var name: String
    /// Its value, whose literal parts are decoded.
    public var value: PathTemplate

    /// A setting.
    public init(name: String, value: PathTemplate) {
      self.name = name
      self.value = value
    }
  }

  /// What becomes of Host.
  public let host: Host
  /// Whether ``appendTarget(path:query:captures:to:)`` would copy path and query as they are.
  public let isIdentity: Bool

  private struct EncodedSetting: Hashable {
    var name: [UInt8]
    var value: PathTemplate
  }

  private let stripSegments: [[UInt8]]
  private let addPrefix: [UInt8]
  private let path: PathTemplate?
  private let setQuery: [EncodedSetting]
  private let removeQuery: [[UInt8]]

  /// A rewrite. `stripPrefix` is taken off where the path begins with it, segment by segment, and `addPrefix` put
  /// before the rest; `path` replaces all of the path instead. The prefixes must begin with a slash; a slash at their
  /// end counts for nothing. A query parameter that is set replaces all of its name and stands last.
  public init(
    stripPrefix: String? = nil, addPrefix: String? = nil, path: PathTemplate? = nil, host: Host = .keep,
    setQuery: [QuerySetting] = [], removeQuery: [String] = []
  ) {
    self.host = host
    self.path = path
    stripSegments = Self.segments(stripPrefix ?? "")
    self.addPrefix = Self.withoutLastSlash(addPrefix ?? "")
    self.setQuery = setQuery.map { setting in
      var encoded: [UInt8] = []
      for byte in setting.name.utf8 { appendEncoded(byte, to: &encoded) }
      return EncodedSetting(name: encoded, value: setting.value)
    }
    self.removeQuery = removeQuery.map { Array($0.utf8) } + setQuery.map { Array($0.name.utf8) }
    isIdentity = path == nil && stripSegments.isEmpty && self.addPrefix.isEmpty && self.removeQuery.isEmpty
  }

  private static func withoutLastSlash(_ text: String) -> [UInt8] {
    var bytes = Array(text.utf8)
    while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    return bytes
  }

  private static func segments(_ prefix: String) -> [[UInt8]] {
    let bytes = withoutLastSlash(prefix)
    // What stands before the first slash is no segment; an empty prefix has none at all.
    return bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst()
      .map { segment in
        var decoded: [UInt8] = []
        let text = Array(segment)
        var at = 0
        while at < text.count {
          let (value, width) = decodedByte(RawSpan(text), at)
          decoded.append(value)
          at += width
        }
        return decoded
      }
  }

  /// Appends the new target, path and query, to `buffer`. `path` and `query` (without its question mark) are those of
  /// the request, raw, and must not lie in `buffer`; `captures` are those of the match.
  public func appendTarget(path: RawSpan, query: RawSpan, captures: RouteCaptures, to buffer: ByteBuffer) {
    let source = TemplateSource(path: path, query: query, authority: path, captures: captures)
    if let template = self.path {
      template.append(source, isSecure: false, to: buffer)
    } else {
      appendPath(path, to: buffer)
    }
    appendQuery(query, source, to: buffer)
  }

  private func appendPath(_ path: RawSpan, to buffer: ByteBuffer) {
    let start = strippedStart(path)
    buffer.append(addPrefix)
    if start < path.byteCount {
      buffer.append(path.extracting(start..<path.byteCount))
    } else if addPrefix.isEmpty {
      buffer.append(UInt8(ascii: "/"))
    }
  }

  /// Where the path goes on behind the prefix: at a slash or the end; 0 where it does not begin with the prefix.
  private func strippedStart(_ path: RawSpan) -> Int {
    var at = 0
    for segment in stripSegments {
      guard at < path.byteCount, byte(path, at) == UInt8(ascii: "/") else { return 0 }
      var end = at &+ 1
      while end < path.byteCount, byte(path, end) != UInt8(ascii: "/") { end &+= 1 }
      guard equalDecoded(path, at &+ 1, end, RawSpan(segment), 0, segment.count) else { return 0 }
      at = end
    }
    return at
  }

  private func appendQuery(_ query: RawSpan, _ source: borrowing TemplateSource, to buffer: ByteBuffer) {
    if removeQuery.isEmpty {
      guard query.byteCount > 0 else { return }
      buffer.append(UInt8(ascii: "?"))
      return buffer.append(query)
    }
    var separator = UInt8(ascii: "?")
    var start = 0
    while start < query.byteCount {
      let pair = QueryPair(query, from: start)
      if !isRemoved(query, start, pair.nameEnd) {
        buffer.append(separator)
        separator = UInt8(ascii: "&")
        buffer.append(query.extracting(start..<pair.end))
      }
      start = pair.end &+ 1
    }
    for setting in setQuery {
      buffer.append(separator)
      separator = UInt8(ascii: "&")
      buffer.append(setting.name)
      buffer.append(UInt8(ascii: "="))
      setting.value.appendQueryValue(source, to: buffer)
    }
  }

  private func isRemoved(_ query: RawSpan, _ start: Int, _ end: Int) -> Bool {
    for name in removeQuery where equalDecoded(query, start, end, RawSpan(name), 0, name.count, plusIsSpace: true) {
      return true
    }
    return false
  }
}

/// Where a redirect sends the client. Immutable; compiled once a route.
public struct Redirect: Hashable, Sendable {
  /// 301, 302, 303, 307 or 308.
  public let status: UInt16
  private let location: PathTemplate

  /// The statuses that a redirect may have.
  public static let statuses: [UInt16] = [301, 302, 303, 307, 308]

  /// A redirect; nil if `status` is none of ``statuses``.
  public init?(status: UInt16, location: PathTemplate) {
    guard Self.statuses.contains(status) else { return nil }
    self.status = status
    self.location = location
  }

  /// Appends the value of `Location`. A location on the same host never begins with two slashes or a slash and a
  /// backslash, whatever the client's path: that would send it to a host of the client's choice.
  public func appendLocation(
    path: RawSpan, query: RawSpan, authority: RawSpan, isSecure: Bool, captures: RouteCaptures, to buffer: ByteBuffer
  ) {
    let text = ByteBuffer(capacity: path.byteCount + query.byteCount + 64)
    let source = TemplateSource(path: path, query: query, authority: authority, captures: captures)
    location.append(source, isSecure: isSecure, to: text)
    if text.count > 1, text[0] == UInt8(ascii: "/") {
      while text.count > 1, text[1] == UInt8(ascii: "/") || text[1] == UInt8(ascii: "\\") {
        text.consume(1)
        text[0] = UInt8(ascii: "/")
      }
    }
    buffer.append(text.bytes)
  }
}
