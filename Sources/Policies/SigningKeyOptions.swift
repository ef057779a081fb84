import Core
import Crypto
import Pipeline

/// A private key that the configuration has, in PEM form.
struct SigningKeyOptions {
  /// What signs with it; nil where there is none, or it is wrong, which is recorded.
  let signer: TokenSigner?

  init(_ options: inout OptionReader, isRequired: Bool = false, _ help: String) {
    let text = isRequired ? options.secretText("key", help) : options.optionalSecretText("key", help)
    let algorithm = options.optionalValue(
      "algorithm", OptionFormat("an algorithm of signatures", example: "ES256"),
      "How it signs; by default RS256 with an RSA key, and the only way of other keys."
    ) { SignatureAlgorithm(rawValue: $0) }
    let name = options.optionalString("keyId", "What the key is called (kid); by default its thumbprint (RFC 7638).")
    guard let text, !options.isDescribing else {
      signer = nil
      return
    }
    do throws(JSONWebKeyFault) {
      let pem = Array(text.utf8)
      let key = try TokenSigner(pem: pem, algorithm: algorithm, keyID: name)
      signer =
        key.keyID == nil
        ? try TokenSigner(pem: pem, algorithm: algorithm, keyID: key.verifyingKey.thumbprint) : key
    } catch {
      options.fail("this key cannot sign: \(error.message)", at: "key", fix: "write a private key in PEM form")
      signer = nil
    }
  }
}
