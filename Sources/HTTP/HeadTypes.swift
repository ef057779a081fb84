/// A part of a head, counted from the head's first byte.
public struct ByteRange: BitwiseCopyable, Equatable, Hashable, Sendable {
  /// Offset of the first byte.
  public var start: UInt32
  /// How many bytes.
  public var count: UInt32

  /// The range of `count` bytes from `start` on.
  @inlinable
  public init(start: UInt32, count: UInt32) {
    self.start = start
    self.count = count
  }

  @inline(__always)
  init(_ start: Int, upTo end: Int) {
    self.init(start: UInt32(truncatingIfNeeded: start), count: UInt32(truncatingIfNeeded: end &- start))
  }

  /// The empty range at the front.
  @inlinable
  public static var empty: ByteRange { ByteRange(start: 0, count: 0) }

  /// Whether there are no bytes in it.
  @inlinable
  public var isEmpty: Bool { count == 0 }

  /// Offset behind the last byte.
  @inlinable
  public var end: Int { Int(start) + Int(count) }

  /// The same range as offsets.
  @inlinable
  public var offsets: Range<Int> { Int(start)..<end }
}

/// One field line of a head, 16 bytes of plain data.
public struct HeadField: BitwiseCopyable, Sendable {
  /// Offset of the name's first byte.
  public var nameStart: UInt32
  /// Offset of the value's first byte, whitespace around the value not counted.
  public var valueStart: UInt32
  /// Bytes of the value, 0 for an empty one.
  public var valueCount: UInt32
  /// Bytes of the name.
  public var nameCount: UInt16
  /// Which name it is, or ``FieldName/other``.
  public var name: FieldName
  /// Whether the field is not passed on: hop-by-hop, named by Connection, a known name with `_` for `-`, or dropped by
  /// a policy.
  public var isDropped: Bool

  /// The name's bytes.
  @inlinable
  public var nameRange: ByteRange { ByteRange(start: nameStart, count: UInt32(nameCount)) }
  /// The value's bytes.
  @inlinable
  public var valueRange: ByteRange { ByteRange(start: valueStart, count: valueCount) }
}

/// How large a head may be. What is beyond is refused as soon as it is certain, not when the head is complete.
public struct HeadLimits: BitwiseCopyable, Sendable {
  /// Bytes of the request or status line without its CRLF; beyond: 414.
  public var requestLineBytes: Int
  /// Field lines; beyond: 431. At most ``maximumFieldCount``.
  public var fieldCount: Int
  /// Bytes of the whole head with its last CRLF; beyond: 431. At most ``maximumHeadBytes``.
  public var headBytes: Int
  /// Spellings of paths that are let through.
  public var paths: PathTolerance

  /// The largest ``fieldCount``: the table of fields is reserved once for so many.
  public static let maximumFieldCount = 1_000
  /// The largest ``headBytes``.
  public static let maximumHeadBytes = 1 << 20
  /// Bytes of a method nobody knows; the longest registered one (UPDATEREDIRECTREF) has 17. Beyond: 501.
  public static let methodBytes = 32
  /// Bytes of a host name, as DNS has it (RFC 1035 section 2.3.4).
  public static let hostBytes = 255

  /// Limits that suit nearly everyone; values beyond the maxima are cut to them.
  public init(
    requestLineBytes: Int = 8_192, fieldCount: Int = 100, headBytes: Int = 65_536, paths: PathTolerance = []
  ) {
    self.paths = paths
    self.requestLineBytes = min(requestLineBytes, HeadLimits.maximumHeadBytes)
    self.fieldCount = min(fieldCount, HeadLimits.maximumFieldCount)
    self.headBytes = min(headBytes, HeadLimits.maximumHeadBytes)
  }
}

/// The outcome of looking for a head at the front of a buffer.
public enum HeadResult: Equatable, Sendable {
  /// A head of so many bytes stands at the front.
  case complete(byteCount: Int)
  /// It may become a head; come back with more bytes.
  case incomplete
  /// It will never be one that we pass on: answer and close.
  case refused(HTTPFault)
}

/// How the end of a body is known (RFC 9112 section 6.3).
public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
  /// There is no body.
  case none
  /// So many bytes, at least 0.
  case length(Int64)
  /// Chunks, read with ``ChunkedDecoder``.
  case chunked
  /// All that comes until the sender ends the connection; responses only.
  case untilClose
}
