// gRPC-Web: what a page can say of gRPC, whose trailers no browser shows it and whose frames it cannot send
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).
//
// Messages are those of gRPC. The trailers of a response come as one message more, marked by the top bit of its first byte;
// and where the type ends in `-text`, all bytes are in Base64, which pages need to read a response while it comes. Nothing is
// kept of either direction but what Base64 makes wait, at most four bytes, and the trailers, which whoever reads them bounds.

import Core

/// One call of gRPC-Web, translated as its bytes come.
public final class GRPCWebCall {
  /// Whether the request's body is in Base64, so that it gets another length.
  public let isRequestEncoded: Bool
  /// Whether the response's is to be.
  public let isResponseEncoded: Bool
  /// How messages are written, with its plus sign: `+proto` where the client does not say.
  public let format: [UInt8]
  /// When the caller gives up; ``Instant/never`` where it does not say.
  public var deadline = Instant.never

  private var decoder = Base64Decoder()
  private var encoder = Base64Encoder()
  private var boundary = MessageBoundary()
  private let trailers = ByteBuffer()

  private static let name: StaticString = "application/grpc-web"
  private static let text: StaticString = "-text"

  /// The call that a request with these fields makes; nil where its type is another one. A response is in Base64 where
  /// `accept` asks for that, or says nothing of gRPC-Web and the request is.
  public init?(contentType: RawSpan, accept: RawSpan) {
    guard let type = Self.type(contentType) else { return nil }
    isRequestEncoded = type.isEncoded
    format = type.format.isEmpty ? Array("+proto".utf8) : type.format
    isResponseEncoded = Self.type(accept)?.isEncoded ?? type.isEncoded
  }

  /// What the type says; nil where it is another one.
  private static func type(_ value: RawSpan) -> (isEncoded: Bool, format: [UInt8])? {
    var end = 0
    while end < value.byteCount, value[byte: end] != UInt8(ascii: ";"), value[byte: end] != UInt8(ascii: ","),
      value[byte: end] != UInt8(ascii: " ")
    {
      end += 1
    }
    let size = name.utf8CodeUnitCount
    guard end >= size, value.extracting(first: size).equalsIgnoringCase(name) else { return nil }
    var rest = value.extracting(size..<end)
    let textSize = text.utf8CodeUnitCount
    let isEncoded = rest.byteCount >= textSize && rest.extracting(first: textSize).equalsIgnoringCase(text)
    if isEncoded { rest = rest.extracting(textSize..<rest.byteCount) }
    let isFormat = rest.byteCount > 1 && rest[byte: 0] == UInt8(ascii: "+") && ByteClass.isToken(rest)
    guard isFormat || rest.isEmpty else { return nil }
    return (isEncoded, rest.array)
  }

  /// Appends the type of the request as the upstream gets it.
  public func appendRequestType(to target: ByteBuffer) {
    target.append("application/grpc")
    target.append(format)
  }

  /// Appends the type of the response as the client gets it.
  public func appendResponseType(to target: ByteBuffer) {
    target.append(Self.name)
    if isResponseEncoded { target.append(Self.text) }
    target.append(format)
  }

  // MARK: The request, where it is in Base64

  /// Appends what the next bytes of the request's body stand for; false where they are no Base64.
  public func decode(_ bytes: RawSpan, to target: ByteBuffer) -> Bool { decoder.decode(bytes, to: target) }

  /// Whether the request's body may end here.
  public var isRequestWhole: Bool { decoder.isWhole }

  // MARK: The response

  /// Appends the next bytes of the response's body, as the client gets them.
  public func append(_ bytes: RawSpan, to target: ByteBuffer) {
    guard isResponseEncoded else { return target.append(bytes) }
    var start = 0
    while start < bytes.byteCount {
      let (count, endsMessage) = boundary.advance(bytes.extracting(start..<bytes.byteCount))
      encoder.encode(bytes.extracting(start..<start + count), to: target)
      // So that the client has all of a message as soon as it has come.
      if endsMessage { encoder.pad(to: target) }
      start += count
    }
  }

  /// Takes one field of the trailers.
  public func take(trailer name: RawSpan, value: RawSpan) {
    trailers.append(name)
    trailers.append(": ")
    trailers.append(value)
    trailers.append("\r\n")
  }

  /// Takes the trailers of a call that comes to nothing; see ``GRPC/appendRefusal(status:code:detail:to:)``.
  public func takeRefusal(status: UInt8, code: StaticString, detail: StaticString) {
    GRPC.appendRefusal(status: status, code: code, detail: detail, to: trailers)
  }

  /// Appends the end of a response: its trailers, if there were any.
  public func appendEnd(to target: ByteBuffer) {
    encoder.pad(to: target)
    let trailers = trailers
    guard !trailers.isEmpty else { return }
    let head = ByteBuffer(capacity: Self.headBytes + trailers.count)
    head.append(Self.trailersFlag)
    for shift in stride(from: 24, through: 0, by: -8) {
      head.append(UInt8(truncatingIfNeeded: trailers.count >> shift))
    }
    head.append(trailers.bytes)
    trailers.removeAll()
    guard isResponseEncoded else { return target.append(head.bytes) }
    encoder.encode(head.bytes, to: target)
    encoder.pad(to: target)
  }

  /// Bytes in front of a message: a flag, and the length.
  static let headBytes = 5
  private static let trailersFlag: UInt8 = 0x80
}

/// Where messages of gRPC end.
private struct MessageBoundary {
  private var headBytes = 0
  private var left = 0

  /// How many of these bytes, at least one, belong to the message that they begin with or go on with, and whether it ends
  /// behind them.
  mutating func advance(_ bytes: RawSpan) -> (count: Int, endsMessage: Bool) {
    var count = 0
    while headBytes < GRPCWebCall.headBytes, count < bytes.byteCount {
      // The first is the flag; the length is never kept longer than its four bytes.
      if headBytes > 0 { left = left << 8 | Int(bytes[byte: count]) }
      headBytes += 1
      count += 1
    }
    guard headBytes == GRPCWebCall.headBytes else { return (count, false) }
    let taken = min(left, bytes.byteCount - count)
    left -= taken
    if left == 0 { headBytes = 0 }
    return (count + taken, left == 0)
  }
}

/// Base64 (RFC 4648 section 4) as it comes, in parts that each may be padded.
struct Base64Decoder: BitwiseCopyable {
  private var bits: UInt32 = 0
  private var digits: UInt8 = 0
  private var padding: UInt8 = 0

  /// Whether nothing waits for further digits.
  var isWhole: Bool { digits == 0 }

  /// Appends what these bytes stand for; false where one of them is no digit, padding stands where none may, or bits are
  /// set that stand for nothing.
  mutating func decode(_ bytes: RawSpan, to target: ByteBuffer) -> Bool {
    for offset in 0..<bytes.byteCount {
      let byte = bytes[byte: offset]
      if byte == UInt8(ascii: "=") {
        guard digits >= 2 else { return false }
        padding += 1
        guard digits + padding == 4 else { continue }
        guard endPadded(target) else { return false }
      } else {
        guard padding == 0, let value = Self.value(of: byte) else { return false }
        bits = bits << 6 | UInt32(value)
        digits += 1
        guard digits == 4 else { continue }
        target.append(UInt8(truncatingIfNeeded: bits >> 16))
        target.append(UInt8(truncatingIfNeeded: bits >> 8))
        target.append(UInt8(truncatingIfNeeded: bits))
        self = Base64Decoder()
      }
    }
    return true
  }

  private mutating func endPadded(_ target: ByteBuffer) -> Bool {
    let unused: UInt32 = digits == 2 ? 0xf : 0x3
    guard bits & unused == 0 else { return false }
    if digits == 2 {
      target.append(UInt8(truncatingIfNeeded: bits >> 4))
    } else {
      target.append(UInt8(truncatingIfNeeded: bits >> 10))
      target.append(UInt8(truncatingIfNeeded: bits >> 2))
    }
    self = Base64Decoder()
    return true
  }

  private static func value(of digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): digit - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}

/// Base64 of bytes as they come.
struct Base64Encoder: BitwiseCopyable {
  private var bits: UInt32 = 0
  private var count: UInt8 = 0

  /// Appends the digits of these bytes, as far as they make whole ones with what came before.
  mutating func encode(_ bytes: RawSpan, to target: ByteBuffer) {
    for offset in 0..<bytes.byteCount {
      bits = bits << 8 | UInt32(bytes[byte: offset])
      count += 1
      if count == 3 { appendDigits(4, to: target) }
    }
  }

  /// Appends what is left, with its padding.
  mutating func pad(to target: ByteBuffer) {
    guard count > 0 else { return }
    let digits = count + 1
    bits <<= 8 * UInt32(3 - count)
    appendDigits(digits, to: target)
    for _ in digits..<4 { target.append(UInt8(ascii: "=")) }
  }

  private mutating func appendDigits(_ digits: UInt8, to target: ByteBuffer) {
    var shift: UInt32 = 18
    for _ in 0..<digits {
      target.append(Self.digit(UInt8(truncatingIfNeeded: bits >> shift) & 63))
      shift &-= 6
    }
    bits = 0
    count = 0
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    switch value {
    case 0..<26: value + 65
    case 26..<52: value + 71
    case 52..<62: value - 4
    case 62: UInt8(ascii: "+")
    default: UInt8(ascii: "/")
    }
  }
}
