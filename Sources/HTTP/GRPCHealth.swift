// The health protocol of gRPC (grpc.health.v1, https://github.com/grpc/grpc/blob/master/doc/health-checking.md): one question
// and one answer, both a message of Protocol Buffers with one field.

import Core

/// Asking a server of gRPC whether it is well.
public enum GRPCHealth {
  /// Where the question goes.
  public static let path: StaticString = "/grpc.health.v1.Health/Check"
  /// Bytes of a service's name at most.
  public static let serviceBytes = 127
  /// Bytes in front of a message of gRPC.
  private static let headBytes = 5

  /// The body that asks for `service`, of at most ``serviceBytes``; an empty name asks for the server as a whole.
  public static func question(service: String) -> [UInt8] {
    let name = Array(service.utf8)
    precondition(name.count <= serviceBytes, "lengths of one byte")
    // Field 1, of the kind that says its length. An empty text is left out.
    let message = name.isEmpty ? [] : [0x0a, UInt8(name.count)] + name
    return [0, 0, 0, 0, UInt8(message.count)] + message
  }

  /// Whether `body`, all of what an answer holds but its trailers, says that the service is serving. False for all other
  /// states, and for what is not one message that is not compressed.
  public static func isServing(_ body: RawSpan) -> Bool {
    guard body.byteCount >= headBytes, body[byte: 0] == 0 else { return false }
    var length = 0
    for index in 1..<headBytes { length = length << 8 | Int(body[byte: index]) }
    guard length == body.byteCount - headBytes else { return false }
    return state(body.extracting(headBytes..<body.byteCount)) == serving
  }

  private static let serving: UInt64 = 1

  /// The last value of field 1, 0 where there is none; nil where the bytes are no message.
  private static func state(_ message: RawSpan) -> UInt64? {
    var (offset, state) = (0, UInt64(0))
    while offset < message.byteCount {
      guard let tag = number(message, &offset), tag >> 3 > 0 else { return nil }
      switch tag & 7 {
      case 0:
        guard let value = number(message, &offset) else { return nil }
        if tag >> 3 == 1 { state = value }
      case 1: offset += 8
      case 2:
        guard let length = number(message, &offset), length <= UInt64(message.byteCount - offset) else { return nil }
        offset += Int(length)
      case 5: offset += 4
      default: return nil
      }
    }
    return offset == message.byteCount ? state : nil
  }

  /// A number of seven bits a byte, the lowest first; at most ten bytes.
  private static func number(_ message: RawSpan, _ offset: inout Int) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard offset < message.byteCount else { return nil }
      let byte = message[byte: offset]
      offset += 1
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }
}
