import Core
import Crypto

/// The SHA-256 of a head or a body: what it is called by.
public struct RevisionName: Hashable, Sendable, CustomStringConvertible {
  static let byteCount = 32
  /// What stands where there is nothing before.
  static let none = RevisionName([UInt8](repeating: 0, count: byteCount))

  let bytes: [UInt8]

  init(_ bytes: [UInt8]) {
    precondition(bytes.count == Self.byteCount)
    self.bytes = bytes
  }

  /// The name of these bytes.
  init(of content: [UInt8]) {
    let digest = SHA256().digest(of: RawSpan(content))
    var encoder = RevisionEncoder()
    for word in [digest.words.0, digest.words.1, digest.words.2, digest.words.3] { encoder.number(word.bigEndian) }
    bytes = encoder.bytes
  }

  /// 64 lower-case hexadecimal digits.
  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
