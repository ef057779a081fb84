import Core
import HTTP

/// A field name that an option gives, made ready for finding it in heads.
public struct FieldSelector: Sendable {
  /// The name as the option gives it.
  public let text: [UInt8]
  /// The name in lower case.
  public let lowercased: [UInt8]
  /// The identity by which heads know it, if they do.
  public let known: FieldName

  /// The field `name`; nil for what is no token (RFC 9110 section 5.1).
  public init?(_ name: String) {
    let text = Array(name.utf8)
    guard (1...256).contains(text.count), text.allSatisfy(Self.isToken) else { return nil }
    self.text = text
    lowercased = text.map { $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }
    known = FieldName.of(RawSpan(text))
  }

  private static func isToken(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122: true
    default: Array("!#$%&'*+-.^_`|~".utf8).contains(byte)
    }
  }

  /// The form of this option.
  public static let format = OptionFormat("a field name", example: "X-API-Key")

  /// The index of the first such field, dropped or not.
  @inline(__always)
  public func firstIndex(in head: RequestHead) -> Int? {
    known != .other ? head.firstIndex(of: known) : head.firstIndex(named: RawSpan(lowercased))
  }

  /// The index of the next such field behind `index`.
  public func nextIndex(in head: RequestHead, after index: Int) -> Int? {
    if known != .other { return head.nextIndex(of: known, after: index) }
    var next = index + 1
    while next < head.fieldCount {
      if head.field(next).name == .other && head.name(of: next).equals(lowercase: RawSpan(lowercased)) { return next }
      next += 1
    }
    return nil
  }

  /// Whether messages are framed and routed by it: to change it is to smuggle.
  public var framesMessages: Bool {
    switch known {
    case .connection, .contentLength, .transferEncoding, .te, .trailer, .upgrade, .keepAlive, .proxyConnection,
      .expect, .http2Settings, .host:
      true
    default: false
    }
  }

  /// Marks every such field as not to be passed on, and every one that is called so by whoever takes `_` for `-`, as CGI
  /// and its heirs do: what the gateway removes or sets must not reach them under the other spelling.
  public func dropAll(in head: RequestHead) {
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      guard field.name == known, !field.isDropped else { continue }
      if known != .other || head.name(of: index).equals(dashed: RawSpan(lowercased)) { head.drop(index) }
    }
  }

  /// Marks every such field as not to be passed on.
  public func dropAll(in head: ResponseHead) {
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      if field.name != known { continue }
      if known != .other || head.name(of: index).equals(lowercase: RawSpan(lowercased)) { head.drop(index) }
    }
  }
}

extension RawSpan {
  /// Whether both hold the same bytes. Not for secrets: it ends at the first difference.
  public func equals(_ other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    for offset in 0..<byteCount where self[byte: offset] != other[byte: offset] { return false }
    return true
  }

  /// Whether it is `lowercase`, which holds no capital letters, with letters of either case.
  public func equals(lowercase: RawSpan) -> Bool {
    guard byteCount == lowercase.byteCount else { return false }
    for offset in 0..<byteCount {
      let byte = self[byte: offset]
      if (byte >= 65 && byte <= 90 ? byte | 32 : byte) != lowercase[byte: offset] { return false }
    }
    return true
  }
}

extension RawSpan {
  /// Whether it is `lowercase`, which holds no capital letters, with letters of either case and `_` and
  /// `-` being one.
  fileprivate func equals(dashed lowercase: RawSpan) -> Bool {
    guard byteCount == lowercase.byteCount else { return false }
    for offset in 0..<byteCount {
      let (byte, wanted) = (self[byte: offset], lowercase[byte: offset])
      if byte == wanted || byte == 95 && wanted == 45 || byte == 45 && wanted == 95 { continue }
      if byte < 65 || byte > 90 || byte | 32 != wanted { return false }
    }
    return true
  }
}

/// The fields by which upstreams learn who calls, from where, and for what. Only the gateway may set them.
public enum IdentityFields {
  /// All of them in lower case, but for those that begin with ``prefix``. The first four are what this gateway sends; the
  /// others are what gateways it may replace send, and an upstream may still believe them. The last two make frameworks
  /// serve another path than the one that was routed.
  static let names: [[UInt8]] = [
    "x-consumer-id", "x-consumer-tenant", "x-consumer-groups", "x-consumer-key",
    "x-consumer-username", "x-consumer-custom-id", "x-credential-identifier", "x-credential-username",
    "x-anonymous-consumer", "x-authenticated-userid", "x-authenticated-scope", "x-authenticated-groups",
    "x-auth-request-user", "x-auth-request-email", "x-auth-request-groups", "x-remote-user", "x-remote-groups",
    "x-userinfo", "remote-user", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-originating-ip",
    "x-remote-ip", "x-remote-addr", "x-envoy-external-address", "true-client-ip", "cf-connecting-ip",
    "fastly-client-ip", "x-original-url", "x-rewrite-url", "client-cert", "client-cert-chain",
    "x-client-cert", "x-ssl-client-cert", "x-ssl-client-verify", "x-ssl-client-s-dn",
  ].map { Array($0.utf8) }

  /// What is said of earlier hops, by these letters and any others behind them.
  private static let prefix = Array("x-forwarded-".utf8)

  /// The bytes of the shortest of them.
  private static let shortest = 10

  /// Drops every one that the client sent. A few ns a field.
  @inlinable
  @inline(__always)
  public static func dropAll(in request: RequestHead) {
    if let first = request.firstIndex(of: .other) { dropAll(in: request, from: first) }
  }

  @inline(never)
  @usableFromInline
  static func dropAll(in request: RequestHead, from first: Int) {
    for index in first..<request.fieldCount {
      let field = request.field(index)
      guard field.name == .other && Int(field.nameCount) >= shortest else { continue }
      if contains(request.name(of: index)) { request.drop(index) }
    }
  }

  /// Whether a field is one of them, also with `_` for `-`; see ``FieldSelector/dropAll(in:)-(RequestHead)``.
  public static func contains(_ name: RawSpan) -> Bool {
    // Few other fields begin like them; most are ruled out by that.
    guard name.byteCount >= shortest else { return false }
    switch name[byte: 0] | 32 {
    case 120 where name[byte: 1] == 45 || name[byte: 1] == 95, 99, 102, 114, 116: break
    default: return false
    }
    let start = min(prefix.count, name.byteCount)
    if name.extracting(0..<start).equals(dashed: RawSpan(prefix)) { return true }
    for candidate in names where name.equals(dashed: RawSpan(candidate)) { return true }
    return false
  }
}
