import Core
import Crypto

/// What clients and issuers say before anything of it is verified.
enum JOSETargets {
  /// RFC 8037 appendix A.2: the one key, and the one token that it has signed.
  private static let keys: JSONWebKeySet = {
    let text = #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#
    do { return try JSONWebKeySet(Array(text.utf8)) } catch { preconditionFailure("\(error)") }
  }()
  private static let signed = Array(
    """
    eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4\
    iylGjg5BhVsPt9g7sVvpAr_MuM0KAg
    """.utf8)

  /// A token: what is read of it is its only text, and no other than the signed one is verified.
  @Sendable
  static func compactToken(_ bytes: RawSpan) {
    guard let token = try? CompactToken(bytes) else { return }
    let text = bytes.array
    precondition(text.count <= CompactToken.longest && !token.signature.isEmpty)
    let parts = String(decoding: text, as: UTF8.self).split(separator: ".", omittingEmptySubsequences: false)
    precondition(parts.count == 3 && token.signedText.byteCount == parts[0].utf8.count + parts[1].utf8.count + 1)
    precondition(Base64URL.encode(token.payload) == parts[1] && Base64URL.encode(token.signature) == parts[2])
    precondition(token.header.root.kind == .object && token.header.root["crit"] == nil)
    if let name = token.keyID { precondition(token.header.root["kid"]?.string.map { Array($0.utf8) } == name.array) }
    _ = token.isType("at+jwt")
    if let claims = try? token.claims() { precondition(claims.root.kind == .object) }
    if case .verified = keys.verify(token) { precondition(text == signed) }
  }

  /// A set of keys: each that is taken can be published and read again, and verifies something that is not a secret's.
  @Sendable
  static func keySet(_ bytes: RawSpan) {
    guard let set = try? JSONWebKeySet(bytes.array) else { return }
    precondition(!set.keys.isEmpty && set.keys.count + set.skipped.count <= JSONWebKeySet.mostKeys)
    for key in set.keys {
      precondition(!key.algorithms.isEmpty && !key.fits(.hs256) && !key.fits(.hs384) && !key.fits(.hs512))
      guard let text = key.publicText, let again = try? JSONWebKeySet(Array("{\"keys\":[\(text)]}".utf8)) else {
        preconditionFailure("what is published of a key is no key")
      }
      precondition(again.keys[0].thumbprint == key.thumbprint && again.keys[0].keyID == key.keyID)
      precondition(again.keys[0].algorithms == key.algorithms)
      precondition(!key.verifies(key.algorithms[0], bytes, bytes))
    }
  }
}
