import Core
import Crypto
import HTTP
import Pipeline

/// Answers with the public keys by which the gateway signs (RFC 7517 section 5), for upstreams that verify its tokens: the key
/// of `identity-token`, the one before it while the cluster's secret is being replaced, and those that the options name.
///
/// To be asked by GET or HEAD; answers others with 405 `method-not-allowed`. Needs nothing but memory.
public final class JWKS: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "jwks"
  /// After all others had their say.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Answers with the public keys by which the gateway signs."

  private let keys: [JSONWebKey]
  private let hasDerived: Bool

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    keys = options.objects(
      "keys", "Further keys, those that identity-token policies have under key above all."
    ) { key in
      SigningKeyOptions(&key, isRequired: true, "The private key in PEM form; its public half is published.").signer?
        .verifyingKey
    }
    hasDerived = options.bool(
      "derived", default: true,
      "Whether the key is among them that identity-token has where it names none, and the one before it.")
    if keys.count > JSONWebKeySet.mostKeys - 2 {
      options.fail("these are too many keys", at: "keys", fix: "give at most \(JSONWebKeySet.mostKeys - 2)")
    }
    if keys.isEmpty, !hasDerived, !options.isDescribing, !options.has("keys") {
      options.fail("there are no keys to publish", at: "derived", fix: "remove it, or add keys")
    }
  }

  /// Answers.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard request.method == .get || request.method == .head else {
      exchange.responseFields.append("Allow: GET, HEAD\r\n")
      return .refuse(Refusal(ProblemCatalogue.methodNotAllowed))
    }
    exchange.replyStatus = 200
    exchange.responseFields.append("Content-Type: application/jwk-set+json\r\nCache-Control: max-age=300\r\n")
    var all = keys
    if hasDerived {
      all.append(services.signer(for: IdentityToken.keyPurpose).verifyingKey)
      if let former = services.formerSigner(for: IdentityToken.keyPurpose) { all.append(former.verifyingKey) }
    }
    var writer = JSONWriter(exchange.replyBody)
    writer.beginObject()
    writer.key("keys")
    writer.beginArray()
    for (index, key) in all.enumerated() where !all[..<index].contains(where: { $0.keyID == key.keyID }) {
      // None is a secret, which would have no text.
      if let text = key.publicText { writer.raw(text) }
    }
    writer.endArray()
    writer.endObject()
    return .reply
  }
}
