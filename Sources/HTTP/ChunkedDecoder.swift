import Core

// Chunked bodies (RFC 9112 section 7.1), one event at a time.
//
// Size lines are read byte by byte through a small state, so that a line that arrives in pieces is never read twice and
// never needs to be kept. Chunk extensions are checked and dropped: they mean something to one hop only, and two readers
// who disagree about where one ends disagree about where the body ends. Trailer fields need their whole line.

/// What a chunked body holds next.
public enum ChunkEvent: Equatable, Sendable {
  /// Body bytes: `count` of them behind `skip` bytes of framing. Consume `skip + count`.
  case data(skip: Int, count: Int)
  /// One trailer field; the ranges count from the front of the bytes given, and `consumed` is what to drop afterwards.
  /// A forbidden field (RFC 9110 section 6.5.1: framing, routing, authentication, …) must not be passed on.
  case trailer(name: ByteRange, value: ByteRange, isForbidden: Bool, consumed: Int)
  /// The body and its trailers have ended.
  case end(consumed: Int)
  /// More bytes are needed behind those consumed now.
  case incomplete(consumed: Int)
  /// The body is not one; nothing behind this can be trusted.
  case malformed(HTTPFault)
}

/// Decodes a chunked body; plain data.
public struct ChunkedDecoder: BitwiseCopyable, Sendable {
  /// Bytes of all chunk extensions of one body together; they serve nobody, so there is room for few.
  public static let extensionBytesLimit = 4_096
  /// Hexadecimal digits of a chunk size, leading zeros included: sizes stay far below 2^63.
  public static let sizeDigitsLimit = 15

  private enum State: UInt8, BitwiseCopyable {
    /// Before the first digit, within the digits, and before the LF of a size line.
    case sizeStart, size, sizeEnd
    /// An extension: before its name, in it, behind it, before its value, in a token or quoted value, behind a value.
    case nameStart, name, nameEnd, valueStart, value, quoted, escaped, quotedEnd, gap
    case data, dataCR, dataLF
    case trailers, ended
  }

  private var state = State.sizeStart
  private var digits: UInt8 = 0
  private var trailerBytesLeft: Int32
  private var trailerScanned: Int32 = 0
  private var extensionBytes: Int32 = 0
  private var remaining: Int64 = 0

  /// A decoder at the start of a body whose trailers may have so many bytes.
  public init(trailerBytesLimit: Int = 8_192) {
    trailerBytesLeft = Int32(clamping: max(trailerBytesLimit, 2))
  }

  /// Whether the body has ended.
  public var hasEnded: Bool { state == .ended }

  /// The next event in `bytes`, which begin where the last event's consumption ended.
  public mutating func next(_ bytes: RawSpan) -> ChunkEvent {
    var index = 0
    while index < bytes.byteCount {
      switch state {
      case .data:
        let count = Int(min(remaining, Int64(bytes.byteCount - index)))
        remaining -= Int64(count)
        if remaining == 0 { state = .dataCR }
        return .data(skip: index, count: count)
      case .trailers: return nextTrailer(bytes, from: index)
      case .ended: return .end(consumed: 0)
      case .dataCR, .dataLF:
        guard bytes[byte: index] == (state == .dataCR ? 13 : 10) else { return .malformed(.malformedChunkEnd) }
        state = state == .dataCR ? .dataLF : .sizeStart
      case .sizeStart, .size:
        if let fault = readSize(bytes[byte: index]) { return .malformed(fault) }
      case .sizeEnd:
        guard bytes[byte: index] == 10 else { return .malformed(.bareCR) }
        state = remaining == 0 ? .trailers : .data
      default:
        if let fault = readExtension(bytes[byte: index]) { return .malformed(fault) }
      }
      index += 1
    }
    return state == .ended ? .end(consumed: index) : .incomplete(consumed: index)
  }

  private mutating func readSize(_ byte: UInt8) -> HTTPFault? {
    if let digit = ByteClass.hexadecimalValue(byte) {
      if state == .sizeStart {
        state = .size
        digits = 0
        remaining = 0
      }
      digits += 1
      if digits > Self.sizeDigitsLimit { return .chunkTooLarge }
      remaining = remaining << 4 | Int64(digit)
      return nil
    }
    guard state == .size else { return byte == 10 ? .bareLF : .malformedChunkSize }
    switch byte {
    case 13: state = .sizeEnd
    case 59:
      state = .nameStart
      return countExtension()
    case 10: return .bareLF
    default: return .malformedChunkSize
    }
    return nil
  }

  private mutating func countExtension() -> HTTPFault? {
    extensionBytes += 1
    return extensionBytes > Int32(Self.extensionBytesLimit) ? .chunkExtensionsTooLong : nil
  }

  /// `*( ";" name [ "=" ( token / quoted-string ) ] )`. The "bad whitespace" that the grammar lets recipients forgive is
  /// not forgiven.
  private mutating func readExtension(_ byte: UInt8) -> HTTPFault? {
    if let fault = countExtension() { return fault }
    let kind = ByteClass.of(byte)
    switch state {
    case .nameStart where kind.contains(.token): state = .name
    case .name where kind.contains(.token), .value where kind.contains(.token): break
    case .name where byte == 61: state = .valueStart
    case .valueStart where kind.contains(.token): state = .value
    case .valueStart where byte == 34: state = .quoted
    case .quoted where byte == 34: state = .quotedEnd
    case .quoted where byte == 92: state = .escaped
    case .quoted where kind.contains(.quoted): break
    case .escaped where byte == 9 || (byte >= 32 && byte != 127): state = .quoted
    case .name where byte == 59, .value where byte == 59, .quotedEnd where byte == 59: state = .nameStart
    case .name where byte == 13, .value where byte == 13, .quotedEnd where byte == 13: state = .sizeEnd
    default: return byte == 10 ? .bareLF : .malformedChunkExtension
    }
    return nil
  }

  /// Reads the line at `start`, if it is all there: a field, or the empty one that ends the body.
  private mutating func nextTrailer(_ bytes: RawSpan, from start: Int) -> ChunkEvent {
    var end = start + Int(trailerScanned)
    while end < bytes.byteCount {
      if end - start >= Int(trailerBytesLeft) { return .malformed(.trailersTooLong) }
      let byte = bytes[byte: end]
      if byte == 10 { break }
      if (byte < 32 && byte != 9 && byte != 13) || byte == 127 { return .malformed(.malformedTrailer) }
      if end > start, bytes[byte: end - 1] == 13 { return .malformed(.bareCR) }
      end += 1
    }
    if end == bytes.byteCount {
      // The framing before the line is dropped now, so the line stands at the front of what comes next.
      trailerScanned = Int32(end - start)
      return .incomplete(consumed: start)
    }
    guard end > start, bytes[byte: end - 1] == 13 else { return .malformed(.bareLF) }
    trailerScanned = 0
    trailerBytesLeft -= Int32(end + 1 - start)
    if end == start + 1 {
      state = .ended
      return .end(consumed: end + 1)
    }
    var colon = start
    while colon < end, ByteClass.of(bytes[byte: colon]).contains(.token) { colon += 1 }
    guard colon > start, bytes[byte: colon] == 58 else { return .malformed(.malformedTrailer) }
    var valueStart = colon + 1
    var valueEnd = end - 1
    while valueStart < valueEnd, bytes[byte: valueStart] == 32 || bytes[byte: valueStart] == 9 { valueStart += 1 }
    while valueEnd > valueStart, bytes[byte: valueEnd - 1] == 32 || bytes[byte: valueEnd - 1] == 9 { valueEnd -= 1 }
    return .trailer(
      name: ByteRange(start, upTo: colon), value: ByteRange(valueStart, upTo: valueEnd),
      isForbidden: Self.isForbidden(bytes.part(start..<colon)), consumed: end + 1)
  }

  /// Whether a field means something only before the body (RFC 9110 section 6.5.1). Names that we know are forbidden
  /// unless they are harmless; of unknown ones, those that others treat as modifiers, and those with a `_`, which are known
  /// ones to whoever takes it for a `-`.
  private static func isForbidden(_ name: RawSpan) -> Bool {
    if name.holds(95) { return true }
    return switch FieldName.of(name) {
    case .etag, .server, .date, .lastModified, .rateLimit, .rateLimitPolicy: false
    case .other:
      name.hasPrefix("x-forwarded-") || name.hasPrefix("proxy-") || name.hasPrefix("if-")
        || name.hasPrefix("sec-") || name.hasPrefix("access-control-") || name.equalsIgnoringCase("max-forwards")
        || name.equalsIgnoringCase("content-location") || name.equalsIgnoringCase("pragma")
    default: true
    }
  }
}
