import Core
import Crypto
import HTTP

/// The field `Content-Digest` of a request (RFC 9530 section 2): what its content must hash to.
struct ContentDigest {
  /// The field's name.
  static let name = "content-digest"

  private let digests: [(hash: ContentHash, bytes: [UInt8])]

  /// Reads the value of the field; nil where it is malformed, names one hash twice, or none that is any good.
  init?(_ text: [UInt8]) {
    guard let dictionary = try? StructuredField.unambiguousDictionary(text, limits: .signed) else { return nil }
    var digests: [(ContentHash, [UInt8])] = []
    for (key, member) in dictionary.members {
      guard let hash = ContentHash(rawValue: key) else { continue }
      guard case .item(let item) = member, let bytes = item.value.bytes else { return nil }
      digests.append((hash, bytes))
    }
    if digests.isEmpty { return nil }
    self.digests = digests
  }

  /// Whether `content` hashes to every digest.
  func matches(_ content: RawSpan) -> Bool {
    for (hash, bytes) in digests {
      let digest = hash.digest(of: content)
      guard ConstantTime.equal(RawSpan(digest), RawSpan(bytes)) else { return false }
    }
    return true
  }
}
