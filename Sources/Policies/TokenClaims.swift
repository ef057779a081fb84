import Core
import Pipeline

/// What a token says (RFC 7519 section 4.1), read without copying more than is asked for.
struct TokenClaims {
  let document: JSONDocument

  var root: JSONValue { document.root }

  /// What a claim comes to that need not be there.
  enum Moment {
    case absent
    case at(WallTime)
    /// It is no number.
    case malformed
  }

  /// The latest moment that counts, in seconds since 1970: the end of the year 9999.
  private static let latest = 253_402_300_799.0

  /// Whether the issuer is this one, byte for byte.
  func isIssued(by issuer: String) -> Bool { root["iss"]?.equals(issuer) ?? false }

  /// Whether the token is for one of these audiences.
  func isFor(_ audiences: [String]) -> Bool {
    guard let audience = root["aud"] else { return false }
    if audience.kind == .string { return audiences.contains { audience.equals($0) } }
    return audience.elements.contains { one in audiences.contains { one.equals($0) } }
  }

  /// A moment in seconds since 1970, perhaps with a fraction.
  func moment(_ name: String) -> Moment {
    guard let value = root[name] else { return .absent }
    guard let seconds = value.number, seconds >= 0 else { return .malformed }
    return .at(WallTime(microseconds: Int64(min(seconds, Self.latest) * 1_000_000)))
  }

  /// The moment from which on the token is not good any more; of a token whose `exp` has been checked.
  func expires(leeway: Int64) -> WallTime {
    guard case .at(let moment) = moment("exp") else { return WallTime(microseconds: 0) }
    return WallTime(microseconds: moment.microseconds + leeway)
  }

  /// What the token is bound to.
  var confirmation: VerifiedToken.Confirmation {
    guard let bound = root["cnf"] else { return .none }
    // Of two ways that are both there, both would have to be kept.
    guard bound.count == 1 else { return .unknown }
    if let thumbprint = bound["x5t#S256"]?.string { return .certificate(thumbprint) }
    return bound["jkt"]?.string.map { .key($0) } ?? .unknown
  }

  /// The second before the one in which it was issued, 0 where it does not say: a subject's tokens of the very second in
  /// which they are revoked may be from before, and are revoked too.
  var issued: UInt32 {
    guard case .at(let moment) = moment("iat") else { return 0 }
    return UInt32(clamping: moment.seconds - 1)
  }
}
