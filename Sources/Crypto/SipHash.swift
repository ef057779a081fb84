import Core

/// SipHash-2-4 with 128 bits of result (Aumasson and Bernstein 2012): a keyed hash whose collisions nobody without the
/// key can produce, for what clients may choose freely and a table must hold.
public struct SipKey: Sendable, BitwiseCopyable {
  let low: UInt64
  let high: UInt64

  /// The key of these sixteen bytes, least significant word first.
  public init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  /// The key of these sixteen bytes.
  public init(bytes: [UInt8]) {
    precondition(bytes.count == 16)
    func word(_ start: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64($1 * 8) } }
    self.init(low: word(0), high: word(8))
  }

  /// The hash of `bytes`, some 2 ns plus 1 ns for every eight bytes.
  public func hash(_ bytes: RawSpan) -> (low: UInt64, high: UInt64) {
    var state = State(self)
    let whole = bytes.byteCount & ~7
    var offset = 0
    while offset < whole {
      // The checked offset leaves eight bytes.
      state.compress(unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian)
      offset &+= 8
    }
    var last = UInt64(truncatingIfNeeded: bytes.byteCount) << 56
    var shift: UInt64 = 0
    while offset < bytes.byteCount {
      last |= UInt64(unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)) << shift
      shift &+= 8
      offset &+= 1
    }
    state.compress(last)
    return state.finish()
  }

  /// The hash of two words as sixteen little-endian bytes.
  public func hash(_ first: UInt64, _ second: UInt64) -> (low: UInt64, high: UInt64) {
    var state = State(self)
    state.compress(first)
    state.compress(second)
    state.compress(16 << 56)
    return state.finish()
  }

  private struct State {
    var v0: UInt64
    var v1: UInt64
    var v2: UInt64
    var v3: UInt64

    init(_ key: SipKey) {
      v0 = key.low ^ 0x736f_6d65_7073_6575
      // The constant 0xee sets the 128-bit variant apart from the 64-bit one.
      v1 = key.high ^ 0x646f_7261_6e64_6f6d ^ 0xee
      v2 = key.low ^ 0x6c79_6765_6e65_7261
      v3 = key.high ^ 0x7465_6462_7974_6573
    }

    mutating func compress(_ word: UInt64) {
      v3 ^= word
      round()
      round()
      v0 ^= word
    }

    mutating func finish() -> (low: UInt64, high: UInt64) {
      v2 ^= 0xee
      for _ in 0..<4 { round() }
      let low = v0 ^ v1 ^ v2 ^ v3
      v1 ^= 0xdd
      for _ in 0..<4 { round() }
      return (low, v0 ^ v1 ^ v2 ^ v3)
    }

    @inline(__always)
    private mutating func round() {
      v0 = v0 &+ v1
      v1 = (v1 << 13 | v1 >> 51) ^ v0
      v0 = v0 << 32 | v0 >> 32
      v2 = v2 &+ v3
      v3 = (v3 << 16 | v3 >> 48) ^ v2
      v0 = v0 &+ v3
      v3 = (v3 << 21 | v3 >> 43) ^ v0
      v2 = v2 &+ v1
      v1 = (v1 << 17 | v1 >> 47) ^ v2
      v2 = v2 << 32 | v2 >> 32
    }
  }
}
