import Core

/// A request method (RFC 9110 section 9); case-sensitive, as the standard has it.
public enum Method: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  case get, head, post, put, delete, connect, options, trace, patch
  /// Any other token; its text is in the head.
  case other

  /// Whether it asks for nothing to change (RFC 9110 section 9.2.1); false for ``other``.
  public var isSafe: Bool {
    switch self {
    case .get, .head, .options, .trace: true
    default: false
    }
  }

  /// Whether sending it twice means the same as once (RFC 9110 section 9.2.2); false for ``other``.
  public var isIdempotent: Bool {
    switch self {
    case .get, .head, .options, .trace, .put, .delete: true
    default: false
    }
  }

  /// The method as it is sent; empty for ``other``.
  public var name: StaticString {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .connect: "CONNECT"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .patch: "PATCH"
    case .other: ""
    }
  }

  /// The method with exactly these bytes, or ``other``.
  public static func of(_ text: RawSpan) -> Method {
    guard text.byteCount >= 3, text.byteCount <= 7 else { return .other }
    var word: UInt64 = 0
    for index in 0..<text.byteCount { word |= UInt64(text[byte: index]) << UInt64(index * 8) }
    return of(word: word)
  }

  /// The method whose bytes are those of `word`, first byte lowest, the unused ones 0.
  @inline(__always)
  static func of(word: UInt64) -> Method {
    switch word {
    case 0x54_4547: .get
    case 0x4441_4548: .head
    case 0x5453_4f50: .post
    case 0x54_5550: .put
    case 0x4554_454c_4544: .delete
    case 0x54_4345_4e4e_4f43: .connect
    case 0x53_4e4f_4954_504f: .options
    case 0x45_4341_5254: .trace
    case 0x48_4354_4150: .patch
    default: .other
    }
  }
}
