import Core

/// The URL of something that is fetched, taken apart: https anywhere, http as far as it is allowed.
public struct FetchURL: Hashable, Sendable {
  /// The most bytes of a URL.
  public static let longest = 2_048

  /// The URL as it was given.
  public let text: String
  /// Whether it is spoken TLS to.
  public let isSecure: Bool
  /// A host name in lower case, or an address without brackets.
  public let host: String
  /// The port, never 0.
  public let port: UInt16
  /// What a request names: path and query.
  public let target: String
  /// Whether nothing but the machine itself may be asked, whatever the name stands for.
  public let isBoundToLoopback: Bool

  /// Takes `https://host[:port][/path][?query]` apart; `http://` too, for loopback addresses and `localhost`, and for
  /// other hosts only with `allowsPlain`. Nil for anything else, and for what would not be one line of a request.
  public init?(_ text: String, allowsPlain: Bool = false) {
    guard text.utf8.count <= Self.longest,
      text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") })
    else { return nil }
    isSecure = text.hasPrefix("https://")
    guard isSecure || text.hasPrefix("http://") else { return nil }
    let rest = text.dropFirst(isSecure ? 8 : 7)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let target = rest.dropFirst(authority.count)
    self.text = text
    self.target = target.hasPrefix("/") ? String(target) : "/" + target
    let hasPort = authority.contains(":") && !authority.hasSuffix("]")
    let whole = hasPort ? String(authority) : "\(authority):\(isSecure ? 443 : 80)"
    let isLoopback: Bool
    switch AddressText(whole) {
    case .socket(.ip(let ip, let port)): (host, self.port, isLoopback) = ("\(ip)", port, ip.isLoopback)
    case .name(let host, let port): (self.host, self.port, isLoopback) = (host, port, host == "localhost")
    case .socket(.unix), nil: return nil
    }
    isBoundToLoopback = !isSecure && !allowsPlain
    guard port > 0, isLoopback || !isBoundToLoopback else { return nil }
  }

  /// What a Host field says.
  public var authority: String {
    (host.contains(":") ? "[\(host)]" : host) + (port == (isSecure ? 443 : 80) ? "" : ":\(port)")
  }
}
