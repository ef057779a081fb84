/// Where to listen or connect, as a person writes it: a socket address, or a host name that must be looked up first.
public enum AddressText: Hashable, Sendable {
  /// `127.0.0.1:8080`, `[::1]:80` or `unix:/run/orders.sock`.
  case socket(SocketAddress)
  /// `orders.example:9001`; the name is a valid host name, in lower case.
  case name(host: String, port: UInt16)

  /// Reads one of the forms above; nil for anything else. A port is needed, 0 only asks the kernel to choose one.
  public init?(_ text: String) {
    if text.hasPrefix("unix:") {
      let path = String(text.dropFirst(5))
      guard (1...SocketAddress.longestUnixPath).contains(path.utf8.count), !path.utf8.contains(0) else { return nil }
      self = .socket(.unix(path: path))
      return
    }
    let bytes = Array(text.utf8)
    guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")), let port = Self.port(bytes[(colon + 1)...]) else {
      return nil
    }
    let host = Array(bytes[..<colon])
    if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") {
      let inner = Array(host.dropFirst().dropLast())
      guard let ip = IPAddress(parsing: RawSpan(inner)), inner.contains(UInt8(ascii: ":")) else { return nil }
      self = .socket(.ip(ip, port: port))
    } else if let ip = IPAddress(parsing: RawSpan(host)) {
      // `::1:80` could mean two things.
      guard !host.contains(UInt8(ascii: ":")) else { return nil }
      self = .socket(.ip(ip, port: port))
    } else if Self.isHostName(host) {
      let name = String(decoding: host, as: UTF8.self).lowercased()
      // `UNIX:80` is a mistyped path rather than a host of that name.
      guard name != "unix" else { return nil }
      self = .name(host: name, port: port)
    } else {
      return nil
    }
  }

  private static func port(_ digits: ArraySlice<UInt8>) -> UInt16? {
    guard (1...5).contains(digits.count), digits.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
    return UInt16(String(decoding: digits, as: UTF8.self))
  }

  /// RFC 1123 section 2.1, underscores allowed since container networks use them; a name whose last label is a number
  /// is a mistyped address.
  static func isHostName(_ host: [UInt8]) -> Bool {
    guard (1...253).contains(host.count) else { return false }
    let labels = host.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    for label in labels {
      guard (1...63).contains(label.count), label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-"),
        label.allSatisfy({ byte in
          (97...122).contains(byte | 0x20) || (48...57).contains(byte) || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: "_")
        })
      else { return false }
    }
    return labels.last.map { !$0.allSatisfy { (48...57).contains($0) } } ?? false
  }
}

extension SocketAddress {
  /// The longest path of a unix socket in bytes: what `sockaddr_un` holds, less its terminator.
  public static let longestUnixPath = 107

  /// Reads `127.0.0.1:8080`, `[::1]:80` or `unix:/path`; nil for anything else, host names included.
  public init?(_ text: String) {
    guard case .socket(let address) = AddressText(text) else { return nil }
    self = address
  }

  /// The IP address; nil for a unix socket.
  public var ip: IPAddress? {
    if case .ip(let ip, port: _) = self { ip } else { nil }
  }

  /// The port; nil for a unix socket.
  public var port: UInt16? {
    if case .ip(_, let port) = self { port } else { nil }
  }

  /// Appends the address as ``init(_:)`` reads it.
  public func append(to buffer: ByteBuffer) {
    switch self {
    case .ip(let ip, let port):
      if !ip.isV4 { buffer.append(UInt8(ascii: "[")) }
      ip.append(to: buffer)
      if !ip.isV4 { buffer.append(UInt8(ascii: "]")) }
      buffer.append(UInt8(ascii: ":"))
      buffer.append(decimal: UInt64(port))
    case .unix(let path):
      buffer.append("unix:")
      buffer.append(utf8: path)
    }
  }
}

extension SocketAddress: CustomStringConvertible {
  /// The address as ``init(_:)`` reads it.
  public var description: String {
    let buffer = ByteBuffer(capacity: 64)
    append(to: buffer)
    return buffer.text
  }
}

extension AddressText: CustomStringConvertible {
  /// The text that was read, in canonical form.
  public var description: String {
    switch self {
    case .socket(let address): address.description
    case .name(let host, let port): "\(host):\(port)"
    }
  }
}
