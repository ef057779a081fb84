import Core
import Crypto
import Gateway
import HTTP

/// Somebody whom the admin port knows.
public struct AdminCaller: Equatable, Sendable {
  /// The name of the token.
  public let name: String
  /// What it may do.
  public let role: AdminSettings.Role
  /// The only tenant that it may see anything of, and change; nil for somebody who is nobody's.
  public let tenant: String?

  /// A caller with this name and role.
  public init(name: String, role: AdminSettings.Role, tenant: String? = nil) {
    self.name = name
    self.role = role
    self.tenant = tenant
  }
}

/// Who may use the admin port. Tokens are kept as SHA-256 digests only.
public struct AdminAccess: Sendable {
  /// What a request's credentials turned out to be.
  public enum Verdict: Equatable, Sendable {
    /// There are none.
    case missing
    /// Nobody has that token, or there is more than one.
    case invalid
    /// A known caller.
    case known(AdminCaller)
  }

  private struct Entry: Sendable {
    let caller: AdminCaller
    let digest: Digest
  }

  private let entries: [Entry]
  /// Whether Host must name this machine: without tokens, the loopback address alone protects, and a page in a browser
  /// can reach that under a name of its own (DNS rebinding).
  let checksHost: Bool

  /// These tokens, for a port at `address`.
  public init(tokens: [AdminSettings.Token], at address: SocketAddress) {
    let hasher = SHA256()
    entries = tokens.map { token in
      let bytes = Array(token.secret.utf8)
      return Entry(
        caller: AdminCaller(name: token.name, role: token.role, tenant: token.tenant),
        digest: hasher.digest(of: RawSpan(bytes)))
    }
    if case .unix = address { checksHost = false } else { checksHost = tokens.isEmpty }
  }

  /// Whether everybody who can connect may do everything.
  var isOpen: Bool { entries.isEmpty }

  /// Who sends the request, by its field `Authorization: Bearer …` (RFC 6750). Compares with all tokens, in a time that
  /// tells nothing about any of them.
  func verdict(_ head: RequestHead) -> Verdict {
    if isOpen { return .known(AdminCaller(name: "local", role: .admin)) }
    guard let index = head.firstIndex(of: .authorization) else { return .missing }
    guard head.nextIndex(of: .authorization, after: index) == nil else { return .invalid }
    let value = head.value(of: index)
    let scheme = "bearer "
    guard value.byteCount > scheme.utf8.count else { return .invalid }
    for (offset, letter) in scheme.utf8.enumerated() where value[byte: offset] | 0x20 != letter { return .invalid }
    let digest = SHA256().digest(of: value.extracting(scheme.utf8.count..<value.byteCount))
    var found: AdminCaller?
    for entry in entries where entry.digest == digest { found = entry.caller }
    return found.map(Verdict.known) ?? .invalid
  }

  /// Whether a request may have been meant for this port by whoever sent it, as far as its Host and Origin tell.
  func isMeant(_ head: RequestHead) -> Bool {
    guard checksHost else { return true }
    let host = String(decoding: head.bytes(head.host))
    guard Self.isLocal(host) else { return false }
    guard !head.method.isSafe, let origin = head.firstIndex(of: .origin) else { return true }
    return String(decoding: head.value(of: origin)) == "http://" + String(decoding: head.bytes(head.authority))
  }

  private static func isLocal(_ host: String) -> Bool {
    if host.lowercased() == "localhost" { return true }
    let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    return IPAddress(bare)?.isLoopback ?? false
  }
}

extension String {
  /// The text of bytes; what is not UTF-8 becomes U+FFFD.
  init(decoding bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}
