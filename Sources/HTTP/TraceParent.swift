import Core

/// A `traceparent` (W3C Trace Context, level 1): which trace a request belongs to and which span sent it.
public struct TraceParent: BitwiseCopyable, Hashable, Sendable {
  /// The trace's identifier, first eight bytes, big-endian. Not 0 together with ``traceLow``.
  public var traceHigh: UInt64
  /// The trace's identifier, last eight bytes, big-endian.
  public var traceLow: UInt64
  /// The sending span's identifier; not 0.
  public var span: UInt64
  /// The flags; the lowest bit tells that the trace is recorded.
  public var flags: UInt8

  /// The bytes that ``append(to:)`` appends.
  public static let byteCount = 55

  /// A parent of these parts, which must obey the rules of each.
  @inlinable
  public init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8) {
    self.traceHigh = traceHigh
    self.traceLow = traceLow
    self.span = span
    self.flags = flags
  }

  /// Whether the trace is recorded.
  public var isSampled: Bool { flags & 1 != 0 }

  /// Reads a field value; nil for anything that the standard says must start a new trace. Of a version later than 00,
  /// the part that it shares with 00 is read.
  public init?(parsing text: RawSpan) {
    guard text.byteCount >= Self.byteCount, text[byte: 2] == 45, text[byte: 35] == 45, text[byte: 52] == 45,
      let version = Self.number(text, at: 0, digits: 2), version != 0xff,
      text.byteCount == Self.byteCount || (version > 0 && text[byte: 55] == 45),
      let high = Self.number(text, at: 3, digits: 16), let low = Self.number(text, at: 19, digits: 16),
      let span = Self.number(text, at: 36, digits: 16), let flags = Self.number(text, at: 53, digits: 2),
      high | low != 0, span != 0
    else { return nil }
    // Only the flag that version 00 knows may be passed on by who knows no other.
    self.init(traceHigh: high, traceLow: low, span: span, flags: version == 0 ? UInt8(flags) : UInt8(flags) & 1)
  }

  /// Appends the value in version 00.
  public func append(to buffer: ByteBuffer) { buffer.write(limit: Self.byteCount) { write(to: &$0) } }

  /// Writes the value in version 00.
  @inlinable
  @inline(__always)
  public func write(to writer: inout ByteWriter) {
    writer.literal("00-")
    writer.hexadecimal(traceHigh, traceLow)
    writer.byte(45)
    writer.hexadecimal(span)
    writer.byte(45)
    writer.hexadecimal(flags)
  }

  private static func number(_ text: RawSpan, at offset: Int, digits: Int) -> UInt64? {
    var value: UInt64 = 0
    for index in offset..<offset + digits {
      let byte = text[byte: index]
      // Capitals are not allowed (section 2.2.2).
      guard let digit = ByteClass.hexadecimalValue(byte), !(byte >= 65 && byte <= 70) else { return nil }
      value = value << 4 | UInt64(digit)
    }
    return value
  }
}
