import Core
import HTTP

/// How far a body has come, and where in a buffer its next bytes lie. Plain data.
///
/// One reader serves both directions: it knows only how the sender frames the body. How the receiver frames it is
/// the writer's matter.
struct BodyReader {
  private(set) var framing = BodyFraming.none
  private var remaining: Int64 = 0
  private var decoder = ChunkedDecoder()
  /// Body bytes seen so far, framing not counted.
  private(set) var received: Int64 = 0
  /// Whether the last byte of the body, trailers included, has been read.
  private(set) var isComplete = true

  init() {}

  init(_ framing: BodyFraming) { begin(framing) }

  /// Forgets the body before: the next one is framed like this.
  @inline(__always)
  mutating func begin(_ framing: BodyFraming) {
    self.framing = framing
    received = 0
    switch framing {
    case .none: isComplete = true
    case .length(let count):
      remaining = count
      isComplete = count == 0
    case .chunked:
      decoder = ChunkedDecoder()
      isComplete = false
    case .untilClose: isComplete = false
    }
  }

  enum Piece {
    /// `count` body bytes lie behind `skip` bytes of framing.
    case data(skip: Int, count: Int)
    /// A trailer field lies in the next `consumed` bytes; nil where it must not be passed on.
    case trailer(field: (name: ByteRange, value: ByteRange)?, consumed: Int)
    /// The body ends after `consumed` bytes of framing.
    case end(consumed: Int)
    /// Nothing to act on: drop `consumed` bytes and wait for more.
    case incomplete(consumed: Int)
    case malformed(HTTPFault)
  }

  /// Takes the rest of a body of known length if it is at most `available` bytes; returns how many, or nil where anything
  /// else has to happen.
  @inline(__always)
  mutating func takeRest(available: Int) -> Int? {
    guard case .length = framing, remaining > 0, remaining <= Int64(available) else { return nil }
    let count = Int(truncatingIfNeeded: remaining)
    received &+= remaining
    remaining = 0
    isComplete = true
    return count
  }

  /// Looks at the bytes that have not been consumed yet.
  mutating func next(_ bytes: RawSpan) -> Piece {
    switch framing {
    case .none: return .end(consumed: 0)
    case .length:
      if remaining == 0 {
        isComplete = true
        return .end(consumed: 0)
      }
      if bytes.isEmpty { return .incomplete(consumed: 0) }
      let count = Int(min(Int64(bytes.byteCount), remaining))
      remaining -= Int64(count)
      received += Int64(count)
      isComplete = remaining == 0
      return .data(skip: 0, count: count)
    case .untilClose:
      if bytes.isEmpty { return .incomplete(consumed: 0) }
      received += Int64(bytes.byteCount)
      return .data(skip: 0, count: bytes.byteCount)
    case .chunked: return nextOfChunked(bytes)
    }
  }

  private mutating func nextOfChunked(_ bytes: RawSpan) -> Piece {
    if isComplete { return .end(consumed: 0) }
    switch decoder.next(bytes) {
    case .data(let skip, let count):
      received += Int64(count)
      return .data(skip: skip, count: count)
    case .trailer(let name, let value, let isForbidden, let consumed):
      return .trailer(field: isForbidden ? nil : (name, value), consumed: consumed)
    case .end(let consumed):
      isComplete = true
      return .end(consumed: consumed)
    case .incomplete(let consumed): return .incomplete(consumed: consumed)
    case .malformed(let fault): return .malformed(fault)
    }
  }

  /// The sender has closed. Returns whether the body is whole.
  mutating func endOfStream() -> Bool {
    if case .untilClose = framing { isComplete = true }
    return isComplete
  }
}
