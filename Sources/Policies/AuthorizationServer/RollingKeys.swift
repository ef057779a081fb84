import Core
import Crypto
import Pipeline

/// With which key an authorization server signs: one of its own, or keys that follow from the cluster's secret and
/// change by themselves.
///
/// A key that follows from the secret is good for one stretch of civil time. The set of keys holds those of the stretch
/// before, the present and the next one, so that each is known to everybody long before it signs, and every node has
/// the same without asking anybody.
struct RollingKeys: Sendable {
  private let fixed: TokenSigner?
  /// Further keys of the set.
  private let others: [JSONWebKey]
  /// Seconds of a stretch.
  private let stretch: Int64

  /// Which stretches have their keys in a set, counted from the present one.
  private static let neighbours: ClosedRange<Int64> = -1...1

  init(_ options: inout OptionReader) {
    let text = options.optionalSecretText(
      "key",
      "A private key in PEM that signs, instead of keys that follow from the cluster's secret and change by themselves."
    )
    let algorithm: SignatureAlgorithm? = options.optionalValue(
      "algorithm", OptionFormat("an algorithm of signatures", example: "ES256"),
      "How key signs; by default RS256 with an RSA key, and the only way of other keys. Without key it is EdDSA."
    ) { SignatureAlgorithm(rawValue: $0) }
    let others = options.optionalText(
      "otherKeys", "A JWK set, or a public key in PEM, that is published too: the key before, or the next one.")
    let stretch = options.duration(
      "keyTime", default: .seconds(30 * 86_400), in: .seconds(86_400) ... .seconds(366 * 86_400),
      "How long a key signs that follows from the cluster's secret. The next one is published as long before.")
    self.stretch = stretch.wholeNanoseconds / 1_000_000_000
    fixed = text.flatMap { Self.signer($0, algorithm, &options) }
    self.others = others.map { Self.keys($0, &options) } ?? []
    if text == nil, let algorithm, algorithm != .edDSA {
      options.fail("\(algorithm.rawValue) needs a key", at: "algorithm", fix: "add key, or remove algorithm")
    }
  }

  private static func signer(
    _ text: String, _ algorithm: SignatureAlgorithm?, _ options: inout OptionReader
  ) -> TokenSigner? {
    let bytes = Array(text.utf8)
    do throws(JSONWebKeyFault) {
      let signer = try TokenSigner(pem: bytes, algorithm: algorithm)
      return try TokenSigner(pem: bytes, algorithm: algorithm, keyID: signer.verifyingKey.thumbprint)
    } catch {
      if !options.isDescribing {
        options.fail("this key cannot sign: \(error.message)", at: "key", fix: "write a private key in PEM")
      }
      return nil
    }
  }

  private static func keys(_ text: String, _ options: inout OptionReader) -> [JSONWebKey] {
    do throws(JSONWebKeyFault) {
      let set =
        try text.contains("-----BEGIN")
        ? JSONWebKeySet([JSONWebKey(pem: Array(text.utf8))]) : JSONWebKeySet(Array(text.utf8))
      if set.keys.allSatisfy({ $0.publicText != nil }) { return set.keys }
      options.fail("a secret is not published", at: "otherKeys", fix: "write public keys only")
    } catch {
      if !options.isDescribing {
        options.fail("these are no public keys: \(error.message)", at: "otherKeys", fix: "write a JWK set")
      }
    }
    return []
  }

  /// What signs now.
  func signer(issuer: String, _ services: Services) -> TokenSigner {
    fixed ?? services.signer(for: purpose(issuer, present(services)))
  }

  /// What signs now, and all that verifies what was signed or will be signed soon; under the secret of the cluster, and
  /// under the one before while that is being replaced.
  func published(issuer: String, _ services: Services) -> [JSONWebKey] {
    if let fixed { return [fixed.verifyingKey] + others }
    let present = present(services)
    var keys: [JSONWebKey] = []
    for stretch in Self.neighbours {
      let purpose = purpose(issuer, present + stretch)
      keys.append(services.signer(for: purpose).verifyingKey)
      if let former = services.formerSigner(for: purpose) { keys.append(former.verifyingKey) }
    }
    return keys + others
  }

  /// The set as text (RFC 7517 section 5).
  func publishedText(issuer: String, _ services: Services) -> [UInt8] {
    let texts = published(issuer: issuer, services).compactMap(\.publicText)
    return Array("{\"keys\":[\(texts.joined(separator: ","))]}".utf8)
  }

  private func present(_ services: Services) -> Int64 { services.world.wallTime.seconds / stretch }

  private func purpose(_ issuer: String, _ number: Int64) -> String { "oauth2-server signing \(number) \(issuer)" }
}
