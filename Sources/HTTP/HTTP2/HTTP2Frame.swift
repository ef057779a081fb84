import Core

/// The header of a frame (RFC 9113 section 4.1).
struct HTTP2FrameHeader: BitwiseCopyable {
  static let byteCount = 9

  var length: Int
  var type: UInt8
  var flags: UInt8
  var stream: UInt32

  /// The header at the front of `bytes`, which are at least nine.
  @inline(__always)
  init(_ bytes: RawSpan) {
    precondition(bytes.byteCount >= Self.byteCount)
    let word = UInt64(bigEndian: unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: 0, as: UInt64.self))
    length = Int(truncatingIfNeeded: word >> 40)
    type = UInt8(truncatingIfNeeded: word >> 32)
    flags = UInt8(truncatingIfNeeded: word >> 24)
    let last = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: 8, as: UInt8.self)
    // The reserved bit is ignored.
    stream = (UInt32(truncatingIfNeeded: word) & 0x7f_ffff) << 8 | UInt32(last)
  }

  func has(_ flag: UInt8) -> Bool { flags & flag != 0 }
}

/// The types of frames (RFC 9113 section 6, RFC 9218 section 7.1) and their flags.
enum HTTP2Frame {
  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let resetStream: UInt8 = 3
  static let settings: UInt8 = 4
  static let pushPromise: UInt8 = 5
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let windowUpdate: UInt8 = 8
  static let continuation: UInt8 = 9
  static let priorityUpdate: UInt8 = 16

  static let endStream: UInt8 = 1
  static let acknowledged: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let padded: UInt8 = 8
  static let hasPriority: UInt8 = 32

  /// The largest payload that we accept or send: the default and the least of SETTINGS_MAX_FRAME_SIZE.
  static let largestPayload = 16_384
  /// The largest window (RFC 9113 section 6.9.1).
  static let largestWindow: Int64 = 0x7fff_ffff
  static let largestStream: UInt32 = 0x7fff_ffff

  /// Sixteen bits at `offset`, the first byte highest.
  static func half(_ bytes: RawSpan, _ offset: Int) -> UInt16 {
    UInt16(bytes[byte: offset]) << 8 | UInt16(bytes[byte: offset + 1])
  }

  /// 32 bits at `offset`, the first byte highest.
  static func word(_ bytes: RawSpan, _ offset: Int) -> UInt32 {
    UInt32(half(bytes, offset)) << 16 | UInt32(half(bytes, offset + 2))
  }
}

extension ByteBuffer {
  /// Appends the header of a frame.
  @inline(__always)
  func appendFrameHeader(length: Int, type: UInt8, flags: UInt8, stream: UInt32) {
    let word = UInt64(length) << 40 | UInt64(type) << 32 | UInt64(flags) << 24 | UInt64(stream >> 8)
    unsafe append(limit: HTTP2FrameHeader.byteCount) { memory in
      // Nine bytes are reserved.
      unsafe memory.storeBytes(of: word.bigEndian, as: UInt64.self)
      unsafe memory.storeBytes(of: UInt8(truncatingIfNeeded: stream), toByteOffset: 8, as: UInt8.self)
      return HTTP2FrameHeader.byteCount
    }
  }

  /// Appends 32 bits, the highest byte first.
  func append(bigEndian value: UInt32) {
    for shift: UInt32 in [24, 16, 8, 0] { append(UInt8(truncatingIfNeeded: value >> shift)) }
  }

  /// Appends a setting (RFC 9113 section 6.5.1).
  func appendSetting(_ identifier: HTTP2Setting, _ value: Int) {
    append(UInt8(0))
    append(identifier.rawValue)
    append(bigEndian: UInt32(truncatingIfNeeded: value))
  }
}

/// The settings that we know (RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1).
enum HTTP2Setting: UInt8 {
  case headerTableSize = 1
  case enablePush, maxConcurrentStreams, initialWindowSize, maxFrameSize, maxHeaderListSize
  case enableConnectProtocol = 8
  case noRFC7540Priorities
}
