import Core
import Crypto
import HTTP
import Pipeline

/// Makes sure that whoever shows a token holds the key that the token is bound to: a proof that was made for this very
/// request (DPoP, RFC 9449), and is shown once in the whole cluster.
///
/// Keys are those of `cnf.jkt` and nobody else's. Where the store cannot be asked whether a proof was shown before, it is
/// refused: 503 `replay-unknown`.
struct ProofGate: Sendable {
  /// What is known of a proof.
  enum Finding {
    case good
    case refused(Problem)
    /// The store is asked; ``ProofGate/resume(_:_:)`` says the rest.
    case waiting
  }

  /// The longest proof, in bytes: a key of RSA with 4096 bits and its signature are less than half of it.
  private static let longest = 4_096
  /// How far a client's clock may be ahead, in microseconds.
  private static let skew: Int64 = 30_000_000
  /// How long a nonce is given out, in seconds; it is taken for twice as long.
  private static let nonceSeconds: Int64 = 150
  /// The longest number of a proof, in bytes.
  private static let longestNumber = 256
  private static let field = FieldSelector("DPoP")

  /// Whether a token must be bound to a key.
  let isRequired: Bool
  private let needsNonce: Bool
  /// What clients call the gateway, in lower case: `https://api.example.com`; empty for what they call it in their requests.
  private let origin: String
  /// How old a proof may be, in microseconds.
  private let longestAge: Int64
  private let once: OnceGuard

  init(_ options: inout OptionReader) {
    isRequired = options.bool(
      "required", default: false,
      "Whether every token must be bound to a key. One that is needs a proof, whatever this says."
    )
    needsNonce = options.bool(
      "nonce", default: false, "Whether proofs must hold a nonce of this cluster, which is good for five minutes.")
    longestAge =
      options.duration(
        "maxAge", default: .seconds(60), in: .seconds(1) ... .seconds(3_600), "How long ago a proof may have been made."
      ).wholeNanoseconds / 1000
    origin =
      (options.optionalString(
        "origin",
        "What proofs call the gateway, where that is not what it sees itself: \"https://api.example.com\" behind a balancer that ends TLS."
      ) ?? "").lowercased()
    let lifetime = (longestAge + 2 * Self.skew) / 1_000_000
    once = OnceGuard(purpose: "dpop", lifetimeSeconds: lifetime)
    if !origin.isEmpty, ProofTarget(origin)?.path != "" {
      options.fail("this is no origin", at: "origin", fix: "write it like \"https://api.example.com\"")
    }
  }

  /// Judges the proof of a request for a token that is bound to the key with this thumbprint (RFC 9449 section 4.3).
  func judge(
    _ thumbprint: String, token: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Finding {
    guard let field = Self.field, let index = field.firstIndex(in: request) else {
      return refuse(ProblemCatalogue.proofMissing, &exchange, services)
    }
    let value = request.value(of: index)
    guard field.nextIndex(in: request, after: index) == nil, value.byteCount <= Self.longest else {
      return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
    }
    do throws(CompactTokenFault) {
      let proof = try CompactToken(value)
      let claims = try proof.claims().root
      guard proof.isType("dpop+jwt"), !proof.algorithm.isSymmetric, let value = proof.header.root["jwk"],
        let found = self.thumbprint(of: value)
      else {
        return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
      }
      // Before the key costs anything: only keys that tokens are bound to are prepared, and remembered.
      guard found == thumbprint else { return .refused(ProblemCatalogue.tokenUnconfirmed) }
      guard let key = key(value, thumbprint, services) else {
        return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
      }
      guard key.verifies(proof), isForThis(claims, token, &exchange, request, services) else {
        return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
      }
      guard !needsNonce || hasNonce(claims, &exchange, services) else {
        return refuse(ProblemCatalogue.proofNonceMissing, &exchange, services)
      }
      guard let number = claims["jti"]?.string, (1...Self.longestNumber).contains(number.utf8.count) else {
        return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
      }
      let name = Array("\(thumbprint) \(number)".utf8)
      return conclude(once.use(RawSpan(name), &exchange, services), &exchange)
    } catch {
      return refuse(ProblemCatalogue.proofInvalid, &exchange, services)
    }
  }

  /// The store has said whether the proof was shown before, or has not.
  func resume(_ exchange: inout Exchange, _ services: Services) -> Finding {
    conclude(once.resume(&exchange, services), &exchange)
  }

  private func conclude(_ finding: OnceGuard.Finding, _ exchange: inout Exchange) -> Finding {
    switch finding {
    case .first: return .good
    case .again: return .refused(ProblemCatalogue.proofRepeated)
    case .unknown: return .refused(ProblemCatalogue.replayUnknown)
    case .waiting:
      exchange.awaited = .use
      return .waiting
    }
  }

  /// Takes the proof out of what is sent on.
  static func strip(_ request: RequestHead) { field?.dropAll(in: request) }

  // MARK: Parts of a proof

  /// What says which key a proof names; nil where it is none. Who has a private one to show has shown it.
  private func thumbprint(of value: JSONValue) -> String? {
    guard value.kind == .object, value["d"] == nil, value["k"] == nil else { return nil }
    return try? JSONWebKey.thumbprint(of: value)
  }

  /// The key that a token is bound to.
  private func key(_ value: JSONValue, _ thumbprint: String, _ services: Services) -> JSONWebKey? {
    if let known = services.proofKeys.find(thumbprint) { return known }
    guard let key = try? JSONWebKey(value) else { return nil }
    services.proofKeys.remember(key, thumbprint)
    return key
  }

  /// Whether a proof was made now, for this request and this token.
  private func isForThis(
    _ claims: JSONValue, _ token: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Bool {
    guard let made = claims["iat"]?.number, made >= 0, made < 1e12 else { return false }
    let age = services.world.wallTime.microseconds - Int64(made * 1_000_000)
    guard age >= -Self.skew, age <= longestAge + Self.skew else { return false }
    let method = request.bytes(request.methodText).array
    guard claims["htm"]?.equals(String(decoding: method, as: UTF8.self)) == true,
      let text = claims["htu"]?.string, let target = ProofTarget(text)
    else { return false }
    let authority = String(decoding: request.bytes(request.authority).array, as: UTF8.self)
    let here = origin.isEmpty ? "\(exchange.isSecure ? "https" : "http")://\(authority)" : origin
    guard let own = ProofTarget(here), target.isSameOrigin(as: own),
      target.path.isEmpty
        ? request.bytes(request.path).byteCount == 1 : request.bytes(request.path).array == Array(target.path.utf8)
    else { return false }
    return claims["ath"]?.equals(Base64URL.encode(services.hasher.digest(of: token).bytes)) ?? false
  }

  // MARK: Nonces

  /// Whether a proof holds a nonce of this cluster; the client is told the present one where it has an older one.
  private func hasNonce(_ claims: JSONValue, _ exchange: inout Exchange, _ services: Services) -> Bool {
    guard let nonce = claims["nonce"]?.string else { return false }
    let present = services.world.wallTime.seconds / Self.nonceSeconds
    // A node whose clock is a little ahead may have given out the next one.
    guard let period = [present, present - 1, present + 1].first(where: { Self.nonce($0, services) == nonce }) else {
      return false
    }
    if period < present { offerNonce(&exchange, services) }
    return true
  }

  private static func nonce(_ period: Int64, _ services: Services) -> String {
    let code = HMACSHA256.code(of: RawSpan(Array("\(period)".utf8)), key: services.secretKey(for: "dpop nonces"))
    return Base64URL.encode(Array(code.prefix(18)))
  }

  private func offerNonce(_ exchange: inout Exchange, _ services: Services) {
    let nonce = Self.nonce(services.world.wallTime.seconds / Self.nonceSeconds, services)
    exchange.responseFields.append("DPoP-Nonce: ")
    exchange.responseFields.append(utf8: nonce)
    exchange.responseFields.append("\r\n")
  }

  private func refuse(_ problem: Problem, _ exchange: inout Exchange, _ services: Services) -> Finding {
    if needsNonce { offerNonce(&exchange, services) }
    return .refused(problem)
  }
}

/// The URL of a proof, without query and fragment (RFC 9449 section 4.3).
struct ProofTarget: Equatable {
  /// `https` or `http`.
  let scheme: String
  /// In lower case, without the port that the scheme has anyhow.
  let authority: String
  /// Empty, or from the first slash on.
  let path: String

  init?(_ text: String) {
    guard text.utf8.count <= 8_192, let colon = text.firstRange(of: "://") else { return nil }
    scheme = text[..<colon.lowerBound].lowercased()
    guard scheme == "https" || scheme == "http" else { return nil }
    let rest = text[colon.upperBound...].prefix { $0 != "?" && $0 != "#" }
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    let standard = scheme == "https" ? ":443" : ":80"
    let authority = rest[..<slash].lowercased()
    self.authority = authority.hasSuffix(standard) ? String(authority.dropLast(standard.count)) : authority
    path = String(rest[slash...])
    if self.authority.isEmpty || self.authority.contains("@") { return nil }
  }

  func isSameOrigin(as other: ProofTarget) -> Bool { scheme == other.scheme && authority == other.authority }
}
