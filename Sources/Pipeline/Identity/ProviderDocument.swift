import Core

/// Where the parts of a provider of logins are, as it publishes them itself (OpenID Connect Discovery 1.0 section 3).
public struct ProviderDocument: Equatable, Sendable {
  /// Where browsers are sent to log in.
  public let authorization: FetchURL
  /// Where codes and refresh tokens are redeemed.
  public let token: FetchURL
  /// Where requests to log in are left beforehand (RFC 9126 section 5); nil where that is not offered.
  public let push: FetchURL?
  /// Where browsers are sent to log out (OpenID Connect RP-Initiated Logout 1.0 section 2.1); nil where that is not offered.
  public let endSession: FetchURL?
  /// Whether nobody logs in whose request was not left beforehand.
  public let requiresPush: Bool
  /// Whether each answer of a login says whose it is (RFC 9207 section 3).
  public let namesIssuer: Bool

  /// Reads the document of `source`, which must be found by discovery. Addresses of plain HTTP are taken only from a document
  /// that came that way, not from one that `isSecure`.
  public init(_ body: [UInt8], of source: KeySource, isSecure: Bool) throws(IssuerDocument.Fault) {
    let document = try IssuerDocument.read(body, of: source)
    let root = document.root
    guard let authorization = try Self.url("authorization_endpoint", root, isSecure) else {
      throw IssuerDocument.Fault(message: "its configuration says no authorization_endpoint")
    }
    guard let token = try Self.url("token_endpoint", root, isSecure) else {
      throw IssuerDocument.Fault(message: "its configuration says no token_endpoint")
    }
    (self.authorization, self.token) = (authorization, token)
    push = try Self.url("pushed_authorization_request_endpoint", root, isSecure)
    endSession = try Self.url("end_session_endpoint", root, isSecure)
    requiresPush = root["require_pushed_authorization_requests"]?.bool ?? false
    namesIssuer = root["authorization_response_iss_parameter_supported"]?.bool ?? false
  }

  private static func url(
    _ name: String, _ root: JSONValue, _ isSecure: Bool
  ) throws(IssuerDocument.Fault) -> FetchURL? {
    guard let value = root[name], value.kind != .null else { return nil }
    guard let text = value.string, let url = FetchURL(text), url.isSecure || !isSecure else {
      throw IssuerDocument.Fault(message: "the \(name) of its configuration is not https")
    }
    return url
  }
}

/// What a loop knows of providers. Not thread-safe; plain data.
public struct ProviderBook {
  /// The most providers.
  public static let capacity = 64
  /// For how long a document holds, in nanoseconds.
  static let life: Int64 = 3_600_000_000_000
  /// After how long a provider without an answer is asked again, in nanoseconds: where there is no document, and where there
  /// is an older one.
  static let (rest, longRest): (Int64, Int64) = (5_000_000_000, 60_000_000_000)

  /// What is known of one.
  public enum Finding: Equatable, Sendable {
    /// Its parts.
    case known(ProviderDocument)
    /// It has to be asked.
    case missing
    /// It was asked a moment ago, and has not answered.
    case unavailable
  }

  private struct Page {
    var document: ProviderDocument?
    var asksAgainAt: Instant
  }

  private var pages: [KeySource: Page] = [:]

  /// Nothing is known.
  public init() {}

  /// What is known of the provider of `source`.
  public func find(_ source: KeySource, now: Instant) -> Finding {
    guard let page = pages[source], page.asksAgainAt > now else { return .missing }
    return page.document.map { .known($0) } ?? .unavailable
  }

  /// The provider of `source` was asked. One that was known before stays so, whatever is wrong now.
  public mutating func take(_ outcome: FetchOutcome, of source: KeySource, now: Instant) {
    if pages.count >= Self.capacity, pages[source] == nil { pages = [:] }
    let isSecure = FetchURL(source.url)?.isSecure ?? true
    if case .answered(200, _, let body) = outcome,
      let document = try? ProviderDocument(body, of: source, isSecure: isSecure)
    {
      pages[source] = Page(document: document, asksAgainAt: now.advanced(byNanoseconds: Self.life))
    } else {
      let former = pages[source]?.document
      let rest = former == nil ? Self.rest : Self.longRest
      pages[source] = Page(document: former, asksAgainAt: now.advanced(byNanoseconds: rest))
    }
  }
}
