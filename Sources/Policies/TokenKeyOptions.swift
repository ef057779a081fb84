import Core
import Crypto
import Pipeline

/// How an issuer's keys are known: a secret, keys in the configuration, a URL, or by discovery, which is what happens where
/// nothing is said.
struct TokenKeyOptions {
  private(set) var source: KeySource?
  private(set) var keys: JSONWebKeySet?
  private(set) var isSymmetric = false
  /// Who vouches for where keys are fetched; nil for those whom the system trusts.
  private(set) var authorities: String?
  /// Whether keys can be had at all.
  private(set) var isUsable = true

  /// What is good where the configuration does not say.
  var standardAlgorithms: [SignatureAlgorithm] {
    SignatureAlgorithm.allCases.filter { $0.isSymmetric == isSymmetric }
  }

  /// How keys are given.
  private struct Given {
    let url: String?
    let text: String?
  }

  /// Reads how the keys of `issuer` are known; a secret only where it `takesSecret`.
  init(_ options: inout OptionReader, issuer: String, takesSecret: Bool = true) {
    let given = options.object(
      "jwks", shorthand: "keys",
      "Its keys, where they are not found by discovery: { url: … }, { file: … } of a JWK set or of a public key in PEM, or such a text."
    ) { jwks in
      Given(
        url: jwks.optionalString("url", "Where the keys are fetched."),
        text: jwks.optionalText("keys", "A JWK set, or a public key in PEM."))
    }
    let secret =
      takesSecret
      ? options.optionalSecret(
        "secret", "What the issuer and the gateway share, for HS256, HS384 and HS512: 32 bytes or more.")
      : nil
    let authorities = options.authorities(
      "PEM certificates of the authorities that vouch for where the keys are fetched; by default those of the system.")
    self.authorities = authorities
    if options.isDescribing { return }
    if let secret {
      isSymmetric = true
      if given != nil { options.fail("keys and a secret exclude each other", at: "secret", fix: "remove one of both") }
      read(secret: secret, &options)
    } else if let text = given?.text {
      if given?.url != nil { options.fail("keys are here or elsewhere", at: "jwks", fix: "remove url or keys") }
      read(text, &options)
    } else {
      let url = given?.url
      if FetchURL(url ?? issuer) != nil {
        source =
          url.map { .keys(at: $0, authorities: authorities) } ?? .discovery(of: issuer, authorities: authorities)
      } else {
        isUsable = false
        options.fail(
          "\"\(url ?? issuer)\" is no place to fetch keys from", at: url == nil ? "issuer" : "jwks",
          fix: url == nil
            ? "give the keys under jwks, or an issuer like \"https://id.example.com\""
            : "write a URL with https://, or with http:// and a loopback address")
      }
    }
  }

  private mutating func read(secret: String, _ options: inout OptionReader) {
    do throws(JSONWebKeyFault) {
      let secret = Array(secret.utf8)
      var keys = [try JSONWebKey(secret: secret, algorithm: .hs256)]
      // The longer ones want longer secrets.
      for algorithm in [SignatureAlgorithm.hs384, .hs512] {
        if let key = try? JSONWebKey(secret: secret, algorithm: algorithm) { keys.append(key) }
      }
      self.keys = JSONWebKeySet(keys)
    } catch {
      fail("this secret cannot be used: \(error.message)", at: "secret", fix: "write 32 random bytes or more", &options)
    }
  }

  private mutating func read(_ text: String, _ options: inout OptionReader) {
    do throws(JSONWebKeyFault) {
      if text.contains("-----BEGIN") {
        keys = JSONWebKeySet([try JSONWebKey(pem: Array(text.utf8))])
      } else {
        let read = try JSONWebKeySet(Array(text.utf8))
        for reason in read.skipped { options.warn("a key is not used: \(reason)", at: "jwks", fix: "remove it") }
        keys = read
      }
    } catch {
      fail(
        "these are no keys that can be used: \(error.message)", at: "jwks",
        fix: "write a JWK set (RFC 7517), or a public key in PEM", &options)
    }
  }

  private mutating func fail(_ message: String, at key: String, fix: String, _ options: inout OptionReader) {
    isUsable = false
    options.fail(message, at: key, fix: fix)
  }
}
