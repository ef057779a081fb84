import Core
import Crypto
import Pipeline

/// An issuer that a test speaks for, and its keys.
struct TestIssuer {
  /// The second at which a ``StillWorld`` begins.
  static let now = 1_790_000_000

  let signer: TokenSigner
  let name: String

  init(_ algorithm: SignatureAlgorithm = .es256, name: String = "https://id.example", keyID: String? = "one") throws {
    signer = try TokenSigner.fresh(algorithm, keyID: keyID)
    self.name = name
  }

  /// Its keys as a JWK set.
  var keys: String { "{\"keys\":[\(signer.publicText ?? "")]}" }

  /// The options of an issuer whose keys are in the configuration.
  func options(_ more: String = "") -> String {
    "{ issuer: \"\(name)\", audiences: [\"orders\"], jwks: \(quoted(keys))\(more) }"
  }

  private func quoted(_ text: String) -> String { "\"\(text.replacing("\"", with: "\\\""))\"" }

  /// A token with these claims beside `iss`, `aud` and `exp`; those that are given here win.
  func token(_ claims: String = "", type: String = "JWT") throws -> String {
    var members = claims.isEmpty ? [] : [claims]
    if !claims.contains("\"iss\"") { members.append("\"iss\":\"\(name)\"") }
    if !claims.contains("\"aud\"") { members.append("\"aud\":\"orders\"") }
    if !claims.contains("\"exp\"") { members.append("\"exp\":\(Self.now + 60)") }
    return try signed("{\(members.joined(separator: ","))}", type: type)
  }

  /// A token of this text.
  func signed(_ text: String, type: String = "JWT") throws -> String {
    String(decoding: try signer.sign(RawSpan(Array(text.utf8)), type: type), as: UTF8.self)
  }
}

/// A request with a token.
func bearing(_ token: String) -> String { "GET / HTTP/1.1\nHost: a\nAuthorization: Bearer \(token)" }

/// A token with a header that nobody would write, a payload and a signature.
func crafted(header: String, payload: String, signature: [UInt8] = [1, 2, 3]) -> String {
  [Array(header.utf8), Array(payload.utf8), signature].map { Base64URL.encode($0) }.joined(separator: ".")
}
