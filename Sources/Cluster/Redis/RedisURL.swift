// `redis://user:password@host:6379/0`, as the other clients of Redis read it (the provisional IANA registrations of
// redis and rediss); `unix:///path?db=0` and `redis+unix://` as redis-py and others do.

import Core

/// Why a text is no URL of a Redis server. No case repeats the text: it may hold a password.
public enum RedisURLFault: Error, Hashable, Sendable {
  /// Longer than ``RedisURL/longest``, or with bytes that no URL has.
  case malformed
  /// It begins with none of the schemes.
  case scheme
  /// A `%` is not followed by two hexadecimal digits, or what it stands for is no text.
  case escape
  /// A user without a password, or nothing before the `@`.
  case credentials
  /// The host is missing or is neither a name nor an address.
  case host
  /// The port is no number from 1 to 65535.
  case port
  /// The database is no number of ``RedisServer/databases``.
  case database
  /// The path of a unix socket is missing or too long.
  case path
  /// A parameter behind `?` that means nothing here.
  case parameter

  /// What is wrong, a phrase.
  public var message: String {
    switch self {
    case .malformed: "this is no URL"
    case .scheme: "a store's URL begins with redis://, rediss://, unix:// or redis+unix://"
    case .escape: "a % in a URL begins an escape of two hexadecimal digits"
    case .credentials: "before the @ should be a user and a password, or a colon and a password"
    case .host: "the URL names no host"
    case .port: "the URL's port is not from 1 to 65535"
    case .database: "the URL's database is not from 0 to \(RedisServer.databases.upperBound)"
    case .path: "the path of the unix socket is missing or longer than \(SocketAddress.longestUnixPath) bytes"
    case .parameter: "the only parameter that a store's URL can have is db, for a unix socket"
    }
  }

  /// What to do, a phrase.
  public var fix: String {
    switch self {
    case .escape, .credentials: "write @ : / ? # and % of a password as %40 %3A %2F %3F %23 and %25"
    case .path, .parameter: "write it like unix:///run/redis.sock?db=0"
    default: "write it like redis://127.0.0.1:6379/0"
    }
  }
}

/// Reads the URL of a server.
public enum RedisURL {
  /// More bytes than this are no URL that anybody meant.
  public static let longest = 4096

  /// The server that `text` names. A host without a port has 6379, a URL without a database 0; `rediss` asks for
  /// encryption with the system's authorities.
  public static func parse(_ text: String) throws(RedisURLFault) -> RedisServer {
    let bytes = Array(text.utf8)
    guard bytes.count <= longest, bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "#") }) else {
      throw .malformed
    }
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
      bytes[(colon + 1)...].starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")])
    else { throw .scheme }
    let rest = bytes[(colon + 3)...]
    switch String(decoding: bytes[..<colon], as: UTF8.self).lowercased() {
    case "redis": return try network(rest, encryption: nil)
    case "rediss": return try network(rest, encryption: RedisEncryption())
    case "unix", "redis+unix": return try unix(rest)
    default: throw .scheme
    }
  }

  private static func network(
    _ rest: ArraySlice<UInt8>, encryption: RedisEncryption?
  ) throws(RedisURLFault) -> RedisServer {
    guard !rest.contains(UInt8(ascii: "?")) else { throw .parameter }
    let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
    let (credentials, place) = try authority(rest[..<slash])
    var database = 0
    if slash < rest.endIndex, slash + 1 < rest.endIndex { database = try number(rest[(slash + 1)...]) }
    return RedisServer(
      address: try address(place), database: database, credentials: credentials, encryption: encryption)
  }

  private static func unix(_ rest: ArraySlice<UInt8>) throws(RedisURLFault) -> RedisServer {
    let question = rest.firstIndex(of: UInt8(ascii: "?")) ?? rest.endIndex
    let slash = rest[..<question].firstIndex(of: UInt8(ascii: "/")) ?? question
    let (credentials, host) = try authority(rest[..<slash])
    // `unix://run/redis.sock` lacks a slash: `run` would be a host.
    guard host.isEmpty else { throw .path }
    let path = try unescaped(rest[slash..<question])
    guard (2...SocketAddress.longestUnixPath).contains(path.utf8.count), !path.utf8.contains(0) else { throw .path }
    var database = 0
    if question < rest.endIndex, question + 1 < rest.endIndex {
      let parameter = rest[(question + 1)...]
      guard parameter.starts(with: Array("db=".utf8)) else { throw .parameter }
      database = try number(parameter.dropFirst(3))
    }
    return RedisServer(address: .socket(.unix(path: path)), database: database, credentials: credentials)
  }

  /// What stands before the last `@`, and what stands behind it.
  private static func authority(
    _ bytes: ArraySlice<UInt8>
  ) throws(RedisURLFault) -> (RedisCredentials?, ArraySlice<UInt8>) {
    guard let at = bytes.lastIndex(of: UInt8(ascii: "@")) else { return (nil, bytes) }
    let before = bytes[..<at]
    guard let colon = before.firstIndex(of: UInt8(ascii: ":")) else { throw .credentials }
    let user = try unescaped(before[..<colon])
    let password = try unescaped(before[(colon + 1)...])
    guard !password.isEmpty else { throw .credentials }
    return (RedisCredentials(user: user.isEmpty ? nil : user, password: password), bytes[(at + 1)...])
  }

  private static func address(_ bytes: ArraySlice<UInt8>) throws(RedisURLFault) -> AddressText {
    var text = String(decoding: bytes, as: UTF8.self)
    guard !text.isEmpty else { throw .host }
    let isBare = bytes.last == UInt8(ascii: "]") || !bytes.contains(UInt8(ascii: ":"))
    if isBare { text += ":\(RedisServer.defaultPort)" }
    guard let address = AddressText(text) else {
      // Whether it is the host or the port that cannot be read shows with a port that can.
      let colon = bytes.lastIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
      let host = String(decoding: bytes[..<colon], as: UTF8.self)
      throw AddressText("\(host):1") == nil ? .host : .port
    }
    switch address {
    case .socket(.ip(_, let port)), .name(_, let port): if port == 0 { throw .port }
    case .socket(.unix): throw .host
    }
    return address
  }

  private static func number(_ digits: ArraySlice<UInt8>) throws(RedisURLFault) -> Int {
    guard (1...5).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
      let number = Int(String(decoding: digits, as: UTF8.self)), RedisServer.databases.contains(number)
    else { throw .database }
    return number
  }

  /// RFC 3986 section 2.1. What comes out must be UTF-8 without control characters: it becomes an argument or a path.
  private static func unescaped(_ bytes: ArraySlice<UInt8>) throws(RedisURLFault) -> String {
    guard let result = PercentText.bytes(bytes), result.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }),
      let text = String(validating: result, as: UTF8.self)
    else { throw .escape }
    return text
  }

  /// `path` with everything escaped that would end it or be read as an escape.
  static func escaped(_ path: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in path.utf8 {
      if byte <= 0x20 || byte >= 0x7f || [UInt8(ascii: "%"), UInt8(ascii: "?"), UInt8(ascii: "#")].contains(byte) {
        result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      } else {
        result.append(byte)
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
