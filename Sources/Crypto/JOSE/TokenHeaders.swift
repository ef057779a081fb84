import Core
import Glibc

/// Headers that a loop has read lately, by their text: all tokens that one key signs have the same. Not thread-safe.
public final class TokenHeaders {
  /// How many are kept: those of a handful of issuers. The next one takes the place of the oldest.
  public static let capacity = 8
  /// Bytes of a text that is kept at most; longer headers are read each time.
  public static let longest = 512

  private var entries: [(text: [UInt8], header: ReadHeader)] = []
  private var oldest = 0

  /// No headers.
  public init() {}

  /// What the header of this text says; nil where it was not read lately. Some nanoseconds.
  func find(_ text: RawSpan) -> ReadHeader? {
    for entry in entries where entry.text.count == text.byteCount && Self.isSame(entry.text, text) {
      return entry.header
    }
    return nil
  }

  /// Keeps what a header says.
  func keep(_ header: ReadHeader, _ text: RawSpan) {
    guard text.byteCount <= Self.longest else { return }
    if entries.count < Self.capacity { return entries.append((text.array, header)) }
    entries[oldest] = (text.array, header)
    oldest = (oldest + 1) % Self.capacity
  }

  private static func isSame(_ known: [UInt8], _ text: RawSpan) -> Bool {
    unsafe text.withUnsafeBytes { text in
      // Both have the same length, which the caller has looked at, and are there during the call.
      unsafe known.withUnsafeBytes { known in
        guard let known = known.baseAddress, let base = text.baseAddress else { return true }
        return unsafe memcmp(known, base, text.count) == 0
      }
    }
  }
}

/// A header that has been read.
struct ReadHeader {
  let document: JSONDocument
  let names: HeaderNames

  /// Reads the text of a header, which is base64url.
  init(_ text: RawSpan) throws(CompactTokenFault) {
    guard let bytes = Base64URL.decode(text) else { throw .encoding(.header) }
    document = try CompactToken.object(bytes, .header)
    names = try HeaderNames(document.root, bytes)
  }
}
