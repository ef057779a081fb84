import Core

/// An address that answers of the authorization endpoint may be sent to, as a client has registered it.
///
/// Compared byte for byte (RFC 9700 section 2.1): a prefix, a pattern or another spelling of the same address is
/// another address. The port alone is free, and only of programs on the user's own machine, which get another one each
/// time (RFC 8252 section 7.3).
struct RedirectTarget: Equatable, Sendable {
  /// The most bytes of an address.
  static let longest = 2_048

  /// The address.
  let text: String
  /// Of an address of the machine itself what stands before and behind the port; nil for all others.
  private let loopback: Loopback?

  private struct Loopback: Equatable, Sendable {
    let host: String
    let rest: String
  }

  private static let loopbackHosts = ["http://127.0.0.1", "http://[::1]"]

  /// An address that can be registered: https, http on the machine itself, or a scheme of an app with a dot in it
  /// (RFC 8252 section 7.1). No fragment and no characters that would have to be escaped.
  init?(_ text: String) {
    guard text.utf8.count <= Self.longest, Self.isPlain(text), let colon = text.firstIndex(of: ":") else { return nil }
    let scheme = text[..<colon]
    let rest = text[colon...]
    self.text = text
    loopback = Self.loopback(text)
    switch scheme {
    case "https":
      guard rest.hasPrefix("://"), Self.hasPlainAuthority(rest.dropFirst(3)) else { return nil }
    case "http":
      guard loopback != nil || Self.isLocalhost(text) else { return nil }
    default:
      let isName = scheme.utf8.allSatisfy { Self.isSchemeByte($0) }
      guard isName, scheme.contains("."), scheme.utf8.first.map({ $0 >= 97 && $0 <= 122 }) ?? false else { return nil }
    }
  }

  /// Whether a request that names `other` means this address.
  func matches(_ other: String) -> Bool {
    if other.utf8.elementsEqual(text.utf8) { return true }
    guard let loopback, other.utf8.count <= Self.longest, Self.isPlain(other) else { return false }
    return Self.loopback(other) == loopback
  }

  /// Apart from the port what an address of the machine itself consists of.
  private static func loopback(_ text: String) -> Loopback? {
    guard let host = loopbackHosts.first(where: { text.hasPrefix($0) }) else { return nil }
    var rest = text.dropFirst(host.count)
    if rest.hasPrefix(":") {
      let digits = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
      guard (1...5).contains(digits.count), let port = UInt32(digits), (1...65_535).contains(port) else { return nil }
      rest = rest.dropFirst(1 + digits.count)
    }
    // Anything else behind the host would make another host of it: http://127.0.0.1.example.com, http://127.0.0.1@a.
    guard rest.isEmpty || rest.hasPrefix("/") || rest.hasPrefix("?") else { return nil }
    return Loopback(host: host, rest: String(rest))
  }

  private static func isLocalhost(_ text: String) -> Bool {
    let name = "http://localhost"
    guard text.hasPrefix(name) else { return false }
    return text.count == name.count || [":", "/", "?"].contains(text.dropFirst(name.count).first)
  }

  private static func hasPlainAuthority(_ rest: Substring) -> Bool {
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    return !authority.isEmpty && !authority.contains("@") && !authority.contains("\\")
  }

  /// Visible ASCII without what no address may contain, a fragment among them.
  private static func isPlain(_ text: String) -> Bool {
    text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "#"), UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\\"),
        UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"),
        UInt8(ascii: "*"):
        false
      default: byte > 0x20 && byte < 0x7f
      }
    }
  }

  private static func isSchemeByte(_ byte: UInt8) -> Bool {
    byte >= 97 && byte <= 122 || byte >= 48 && byte <= 57 || byte == 43 || byte == 45 || byte == 46
  }

  /// An address with further parameters, each escaped.
  static func url(_ text: String, adding parameters: [(name: String, value: String?)]) -> String {
    var result = text
    var separator = text.contains("?") ? (text.hasSuffix("?") || text.hasSuffix("&") ? "" : "&") : "?"
    for (name, value) in parameters {
      guard let value else { continue }
      result += "\(separator)\(name)=\(PercentText.encoded(value))"
      separator = "&"
    }
    return result
  }

  /// What a form may be sent to that is answered by a redirection there, as a content security policy names it (CSP
  /// level 3 section 6.4.4): browsers look at every address on the way.
  static func formSource(of text: String) -> String {
    guard let colon = text.firstIndex(of: ":") else { return "" }
    let scheme = text[..<colon]
    guard scheme == "https" || scheme == "http" else { return "\(scheme):" }
    let authority = text[text.index(after: colon)...].dropFirst(2).prefix { $0 != "/" && $0 != "?" }
    // A source has no way to say an address of IPv6.
    return authority.hasPrefix("[") ? "http:" : "\(scheme)://\(authority)"
  }
}
