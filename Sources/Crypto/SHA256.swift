import COpenSSL
import Core

/// A SHA-256 digest: 32 bytes of plain data.
public struct Digest: Equatable, Sendable, BitwiseCopyable {
  /// The four words of eight bytes, each in the byte order of the machine as it lies in memory.
  public let words: (UInt64, UInt64, UInt64, UInt64)

  /// The digest with these words.
  @inlinable
  public init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// The digest written as 64 hexadecimal digits of either case; nil for anything else.
  public init?(hexadecimal text: String) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(32)
    var high: UInt8?
    for character in text.utf8 {
      guard let nibble = HexadecimalDigit.value(character) else { return nil }
      if let first = high {
        bytes.append(first << 4 | nibble)
        high = nil
      } else {
        high = nibble
      }
    }
    guard bytes.count == 32, high == nil else { return nil }
    func word(_ index: Int) -> UInt64 {
      (0..<8).reduce(0) { $0 | UInt64(bytes[index * 8 + $1]) << UInt64($1 * 8) }
    }
    self.init(words: (word(0).littleEndian, word(1).littleEndian, word(2).littleEndian, word(3).littleEndian))
  }

  /// Its 32 bytes, in an array of their own.
  public var bytes: [UInt8] {
    // Plain data without padding.
    unsafe withUnsafeBytes(of: words) { unsafe Array($0) }
  }

  /// The 64 lower-case hexadecimal digits.
  public var hexadecimal: String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for word in [words.0, words.1, words.2, words.3] {
      for shift in stride(from: UInt64(0), to: 64, by: 8) {
        let byte = word.littleEndian >> shift
        text.append(digits[Int(byte >> 4 & 15)])
        text.append(digits[Int(byte & 15)])
      }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// Whether both are the same, in a time that does not depend on where they differ.
  @inlinable
  public static func == (left: Digest, right: Digest) -> Bool {
    let difference =
      (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1) | (left.words.2 ^ right.words.2)
      | (left.words.3 ^ right.words.3)
    return difference == 0
  }
}

/// Computes SHA-256 digests (FIPS 180-4), some 45 ns for a short input.
public struct SHA256: Sendable {
  /// A hasher; it keeps nothing.
  public init() {}

  /// The digest of `bytes`.
  public func digest(of bytes: RawSpan) -> Digest {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let isDone = unsafe bytes.withUnsafeBytes { input in
      unsafe withUnsafeMutableBytes(of: &words) { output in
        // 32 bytes are exactly what SHA-256 writes.
        unsafe sluice_sha256(
          input.baseAddress, input.count, output.baseAddress?.assumingMemoryBound(to: UInt8.self)) == 1
      }
    }
    // It cannot fail, but a failure must not pass for a digest.
    precondition(isDone, "OpenSSL could not compute SHA-256")
    return Digest(words: words)
  }
}
