import Core
import Crypto
import Pipeline

/// Why a token is not good.
enum TokenFault: Error {
  case refused(Problem)
  /// It names a key that is not known, or none is known at all.
  case unknownKey(KeySource)

  /// How it is refused where nobody waits for keys.
  var problem: Problem {
    switch self {
    case .refused(let problem): problem
    case .unknownKey: ProblemCatalogue.keysUnavailable
    }
  }
}

/// One issuer of a `jwt` policy: whose tokens are good, and what they say means. A class, so that looking for the one of a token
/// counts one reference and not one for each of its texts.
final class TokenIssuer: Sendable {
  /// As the claim `iss` says it, byte for byte.
  let issuer: String
  /// Where its keys are fetched; nil where the configuration has them.
  let source: KeySource?
  /// How far clocks may be apart, in microseconds.
  let leeway: Int64
  /// Whom its tokens stand for.
  let mapping: ClaimsMapping
  /// Who vouches for where it is; nil for those whom the system trusts.
  let authorities: String?

  private let audiences: [String]
  private let keys: JSONWebKeySet?
  private let algorithms: [SignatureAlgorithm]
  private let types: [String]
  /// How old a token may be, in microseconds; nil for any age.
  private let longestAge: Int64?

  /// In place of audiences: any will do.
  private static let anyAudience = "*"

  init?(_ options: inout OptionReader) {
    issuer = options.string(
      "issuer", "Who it is, exactly as its tokens' claim iss says it: \"https://id.example.com\".")
    audiences = options.stringList(
      "audiences", isRequired: true,
      "Of whom the claim aud must name one: what the issuer calls this API. \"*\" where tokens of the issuer are good whomever they are for."
    )
    let reading = TokenKeyOptions(&options, issuer: issuer)
    let named = options.valueList(
      "algorithms", OptionFormat("an algorithm of signatures", example: "RS256"),
      "Which signatures are good, as far as they fit the key; by default all but HS256, HS384 and HS512."
    ) { SignatureAlgorithm(rawValue: $0) }
    types = options.stringList(
      "types", default: ["JWT", "at+jwt"],
      "Which types a token may have that names one in its header. Others, such as logout+jwt, are for other purposes.")
    leeway =
      options.duration("leeway", default: .seconds(30), in: .zero ... .seconds(300), "How far clocks may be apart.")
      .wholeNanoseconds / 1000
    longestAge = options.optionalDuration(
      "maxAge", in: .seconds(1) ... .seconds(366 * 86_400),
      "How long ago a token may have been issued, whatever it says itself."
    ).map { $0.wholeNanoseconds / 1000 }
    mapping = ClaimsMapping(&options)
    source = reading.source
    keys = reading.keys
    authorities = reading.authorities
    algorithms = named.isEmpty ? reading.standardAlgorithms : named
    for algorithm in named where reading.isSymmetric != algorithm.isSymmetric {
      options.fail(
        "\(algorithm.rawValue) \(algorithm.isSymmetric ? "needs" : "does not go with") a secret", at: "algorithms",
        fix: reading.isSymmetric ? "write HS256, HS384 or HS512" : "remove it")
    }
    if options.hasFailed("issuer") || options.hasFailed("audiences") || !reading.isUsable { return nil }
  }

  /// The provider of a login, whose tokens are for `client`: ID tokens and logout tokens. Nil after an error.
  init?(_ options: inout OptionReader, provider client: String) {
    issuer = options.string(
      "issuer", "The provider, exactly as its tokens' claim iss says it: \"https://id.example.com\".")
    let reading = TokenKeyOptions(&options, issuer: issuer, takesSecret: false)
    leeway =
      options.duration("leeway", default: .seconds(30), in: .zero ... .seconds(300), "How far clocks may be apart.")
      .wholeNanoseconds / 1000
    mapping = ClaimsMapping(&options)
    audiences = [client]
    types = ["JWT", "logout+jwt"]
    longestAge = nil
    source = reading.source
    keys = reading.keys
    authorities = reading.authorities
    algorithms = reading.standardAlgorithms
    if !options.isDescribing, reading.isUsable, FetchURL(issuer) == nil {
      options.fail("\"\(issuer)\" is no provider", at: "issuer", fix: "write it like \"https://id.example.com\"")
      return nil
    }
    if options.hasFailed("issuer") || options.hasFailed("clientId") || !reading.isUsable { return nil }
  }

  // MARK: Verifying

  /// Checks that a token of this issuer is good at the present moment; returns what its key is called. What costs little
  /// comes first, so that tokens which are over cost nobody a signature.
  func verify(
    _ token: borrowing CompactToken, _ claims: TokenClaims, _ services: Services
  ) throws(TokenFault) -> String? {
    guard algorithms.contains(token.algorithm), isExpected(token),
      audiences.contains(Self.anyAudience) || claims.isFor(audiences)
    else { throw .refused(ProblemCatalogue.tokenUntrusted) }
    try checkTimes(claims, services.world.wallTime)
    let known: JSONWebKeySet
    if let keys {
      known = keys
    } else if let source {
      guard let fetched = services.issuers?.keys(of: source) else { throw .unknownKey(source) }
      known = fetched.keys
    } else {
      throw .refused(ProblemCatalogue.tokenUntrusted)
    }
    switch known.verify(token) {
    case .verified(let key): return key.keyID
    case .unknownKey:
      if let source { throw .unknownKey(source) }
      throw .refused(ProblemCatalogue.tokenUntrusted)
    case .unfit: throw .refused(ProblemCatalogue.tokenUntrusted)
    case .wrong: throw .refused(ProblemCatalogue.tokenInvalid)
    }
  }

  /// Whether a token is of a type that is good here; most name none.
  private func isExpected(_ token: borrowing CompactToken) -> Bool {
    guard token.hasType else { return true }
    for type in types where token.isType(type) { return true }
    return false
  }

  private func checkTimes(_ claims: TokenClaims, _ now: WallTime) throws(TokenFault) {
    let now = now.microseconds
    switch claims.moment("exp") {
    case .at(let end): if end.microseconds + leeway <= now { throw .refused(ProblemCatalogue.tokenExpired) }
    case .absent, .malformed: throw .refused(ProblemCatalogue.tokenInvalid)
    }
    switch claims.moment("nbf") {
    case .at(let start): if start.microseconds - leeway > now { throw .refused(ProblemCatalogue.tokenNotYetValid) }
    case .malformed: throw .refused(ProblemCatalogue.tokenInvalid)
    case .absent: break
    }
    switch claims.moment("iat") {
    case .at(let issued):
      if issued.microseconds - leeway > now { throw .refused(ProblemCatalogue.tokenNotYetValid) }
      if let longestAge, issued.microseconds + longestAge + leeway <= now {
        throw .refused(ProblemCatalogue.tokenExpired)
      }
    case .malformed: throw .refused(ProblemCatalogue.tokenInvalid)
    case .absent: if longestAge != nil { throw .refused(ProblemCatalogue.tokenInvalid) }
    }
  }

  /// The moment from which on a good token is remembered no more.
  func expires(_ claims: TokenClaims) -> WallTime {
    let end = claims.expires(leeway: leeway)
    guard let longestAge, case .at(let issued) = claims.moment("iat") else { return end }
    return min(end, WallTime(microseconds: issued.microseconds + longestAge + leeway))
  }
}
