import Core
import Crypto

/// Proof Key for Code Exchange (RFC 7636), with SHA-256 only.
enum PKCE {
  /// Whether a text is the digest of a proof: 32 bytes in base64url, in their one spelling.
  static func isDigest(_ text: String) -> Bool { text.utf8.count == 43 && Base64URL.decode(text)?.count == 32 }

  /// Whether a text can be a proof (section 4.1): 43 to 128 characters that need no escapes.
  static func isVerifier(_ text: String) -> Bool {
    (43...128).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        (byte | 32) >= 97 && (byte | 32) <= 122 || byte >= 48 && byte <= 57 || byte == 45 || byte == 46 || byte == 95
          || byte == 126
      }
  }

  /// Whether `challenge` is the digest of `verifier`.
  static func holds(_ verifier: String, _ challenge: String) -> Bool {
    guard isVerifier(verifier), let wanted = Base64URL.decode(challenge) else { return false }
    let bytes = Array(verifier.utf8)
    let digest = SHA256().digest(of: RawSpan(bytes)).bytes
    return ConstantTime.equal(RawSpan(digest), RawSpan(wanted))
  }
}
