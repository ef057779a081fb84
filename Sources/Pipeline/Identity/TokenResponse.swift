import Core

/// What a token endpoint gives out (RFC 6749 section 5.1): an access token, and what may come with it.
public struct TokenResponse: Equatable, Sendable {
  /// The most bytes of an answer that is read.
  public static let longest = 65_536
  /// The most bytes of an access token; a longer one does not fit into the head of a request.
  public static let longestToken = 16_384
  /// The longest lifetime that is believed, in seconds: a year.
  public static let longestLifetime: Int64 = 31_536_000
  /// Levels of an answer; extensions may hold objects.
  private static let depth = 16

  /// What the upstream gets: visible characters of ASCII only.
  public let accessToken: String
  /// Whether it may be used as a bearer token. If not it is something else than an access token (RFC 8693 section 2.2.1).
  public let isBearer: Bool
  /// For how many seconds it is good, 0 to ``longestLifetime``; nil where the server does not say.
  public let lifetimeSeconds: Int64?
  /// What it is good for; nil where it is what was asked for.
  public let scopes: [String]?
  /// What gets the next access token.
  public let refreshToken: String?
  /// Who has signed in (OpenID Connect Core section 3.1.3.3), not verified.
  public let idToken: String?
  /// What it is (RFC 8693 section 2.2.1).
  public let issuedTokenType: String?

  /// Why there is no token.
  public enum Fault: Error, Equatable, Sendable {
    /// The server says no (RFC 6749 section 5.2): its code, and its words for developers, empty where it has none.
    case refused(code: String, description: String)
    /// The server cannot answer now, for this reason; perhaps it says after how many seconds it can.
    case unavailable(String, retryAfterSeconds: Int64?)
    /// Its answer is none of a token endpoint, for this reason.
    case malformed(String)

    /// What is written to logs: without secrets, since it quotes nothing but codes, and words of the server for developers.
    public var message: String {
      switch self {
      case .refused(let code, let description):
        "it refuses: \(code)" + (description.isEmpty ? "" : ", \(PrintableText.of(description))")
      case .unavailable(let reason, _): reason
      case .malformed(let reason): "its answer cannot be used: \(reason)"
      }
    }
  }

  /// Takes what became of a request to a token endpoint. Nothing of a token is ever in what is thrown.
  public init(_ outcome: FetchOutcome) throws(Fault) {
    switch outcome {
    case .failed(let reason): throw .unavailable(reason, retryAfterSeconds: nil)
    case .answered(let status, let fields, let body): try self.init(status: status, fields: fields, body: body)
    }
  }

  /// Takes the answer of a token endpoint.
  public init(status: UInt16, fields: [FetchField], body: [UInt8]) throws(Fault) {
    if status >= 500 || status == 429 || status == 408 {
      throw .unavailable("it answers with status \(status)", retryAfterSeconds: Self.retryAfter(fields))
    }
    guard status == 200 || (400...499).contains(status) else { throw .malformed("status \(status)") }
    let root: JSONValue
    do { root = try Self.object(body) } catch {
      // A refusal in words of its own is one all the same.
      throw status == 200 ? error : .refused(code: "status_\(status)", description: "")
    }
    if let refusal = Self.refusal(root) { throw refusal }
    guard status == 200 else { throw .refused(code: "status_\(status)", description: "") }
    try self.init(root)
  }

  private init(_ root: JSONValue) throws(Fault) {
    guard let token = root["access_token"]?.string, Self.isToken(token) else {
      throw .malformed("there is no access_token that a field could hold")
    }
    // RFC 6749 section 7.1: a token of a type that is not understood must not be used.
    guard let type = root["token_type"]?.string else { throw .malformed("there is no token_type") }
    isBearer = type.lowercased() == "bearer"
    guard isBearer || type == "N_A" else { throw .malformed("the token_type is not Bearer") }
    accessToken = token
    lifetimeSeconds = try Self.lifetime(root)
    scopes = try Self.text("scope", root).map { $0.split(separator: " ").map(String.init) }
    refreshToken = try Self.text("refresh_token", root)
    idToken = try Self.text("id_token", root)
    issuedTokenType = try Self.text("issued_token_type", root)
  }

  private static func object(_ body: [UInt8]) throws(Fault) -> JSONValue {
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (longest, depth, 1)
    let outcome = JSONDocument.parse(body, dialect: .strict, limits: limits)
    guard outcome.faults.isEmpty, let root = outcome.document?.root, root.kind == .object else {
      throw .malformed("it is no object in JSON of at most \(longest) bytes")
    }
    return root
  }

  /// RFC 6749 section 5.2; some servers say so with status 200.
  private static func refusal(_ root: JSONValue) -> Fault? {
    guard let code = root["error"]?.string, root["access_token"] == nil else { return nil }
    let isCode =
      (1...128).contains(code.utf8.count)
      && code.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    return .refused(code: isCode ? code : "unreadable", description: root["error_description"]?.string ?? "")
  }

  /// RFC 6749 section 5.1 has a number; several servers write it as a text.
  private static func lifetime(_ root: JSONValue) throws(Fault) -> Int64? {
    guard let value = root["expires_in"], value.kind != .null else { return nil }
    if let seconds = value.number ?? value.string.flatMap(digits), seconds >= 0 {
      return Int64(min(seconds, Double(longestLifetime)))
    }
    throw .malformed("expires_in is no number of seconds")
  }

  private static func digits(_ text: String) -> Double? {
    guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
    return Double(text)
  }

  /// What may be left out, or be null.
  private static func text(_ name: String, _ root: JSONValue) throws(Fault) -> String? {
    guard let value = root[name], value.kind != .null else { return nil }
    guard let text = value.string else { throw .malformed("\(name) is no text") }
    return text
  }

  /// RFC 6750 section 2.1 allows fewer characters still; these are what cannot end a field or be split.
  private static func isToken(_ text: String) -> Bool {
    (1...longestToken).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
  }

  /// RFC 9110 section 10.2.3, seconds only: a date would need a clock.
  private static func retryAfter(_ fields: [FetchField]) -> Int64? {
    fields.first { $0.name == "retry-after" }.flatMap { digits($0.value) }
      .map { Int64(min($0, Double(longestLifetime))) }
  }
}
