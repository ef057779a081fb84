import Core

/// The hashes by which contents are compared (RFC 9530 section 5); others that the standard lists are broken.
public enum ContentHash: String, CaseIterable, Sendable {
  /// SHA-256.
  case sha256 = "sha-256"
  /// SHA-512.
  case sha512 = "sha-512"

  /// The digest of `bytes`, 32 or 64 bytes; some 2 GB a second. Stops the process where OpenSSL has no memory for it.
  public func digest(of bytes: RawSpan) -> [UInt8] {
    let hash = self == .sha256 ? FetchedHash.sha256 : FetchedHash.sha512
    // No digest is longer than 64 bytes.
    var digest = [UInt8](repeating: 0, count: 64)
    let isDone = unsafe digest.withUnsafeMutableBytes { unsafe hash.digest(bytes, $0) }
    precondition(isDone, "OpenSSL could not compute a digest")
    digest.removeLast(digest.count - hash.count)
    return digest
  }
}
