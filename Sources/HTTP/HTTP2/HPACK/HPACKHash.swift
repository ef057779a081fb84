import Core

/// Hashing and comparing fields; a hash decides nothing alone, so it needs no secret.
enum HPACKHash {
  private static let multiplier: UInt64 = 0x9e37_79b9_7f4a_7c15

  /// A hash of name and value. Where `identity` is not 0 it stands for the name; else the name's letters are folded.
  @inline(__always)
  static func of(name: RawSpan, identity: UInt16, value: RawSpan) -> UInt32 {
    var state = UInt64(identity) &* multiplier
    if identity == 0 { state = mix(state, name, fold: 0x2020_2020_2020_2020) }
    state = mix(state &+ UInt64(truncatingIfNeeded: value.byteCount), value, fold: 0)
    return UInt32(truncatingIfNeeded: state >> 32)
  }

  @inline(__always)
  private static func mix(_ seed: UInt64, _ bytes: RawSpan, fold: UInt64) -> UInt64 {
    var state = seed
    var index = 0
    let count = bytes.byteCount
    while count &- index >= 8 {
      state = step(state, unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self) | fold)
      index &+= 8
    }
    if index < count {
      var last: UInt64 = 0
      if count >= 8 {
        // The last eight bytes, some of them a second time.
        last = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: count &- 8, as: UInt64.self)
      } else {
        while index < count {
          last = last &<< 8 | UInt64(unsafe bytes.unsafeLoad(fromUncheckedByteOffset: index, as: UInt8.self))
          index &+= 1
        }
      }
      state = step(state, last | fold)
    }
    return state
  }

  @inline(__always)
  private static func step(_ state: UInt64, _ word: UInt64) -> UInt64 {
    let product = (state ^ word).multipliedFullWidth(by: multiplier)
    return product.high ^ product.low
  }

  /// Whether `bytes` stand at `offset` of `line`.
  @inline(__always)
  static func isEqual(_ line: RawSpan, at offset: Int, _ bytes: RawSpan) -> Bool {
    let count = bytes.byteCount
    precondition(offset >= 0 && offset &+ count <= line.byteCount)
    var index = 0
    while count &- index >= 8 {
      let left = unsafe line.unsafeLoadUnaligned(fromUncheckedByteOffset: offset &+ index, as: UInt64.self)
      let right = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)
      if left != right { return false }
      index &+= 8
    }
    if index == count { return true }
    if count >= 8 {
      // The last eight bytes, some of them a second time.
      let left = unsafe line.unsafeLoadUnaligned(fromUncheckedByteOffset: offset &+ count &- 8, as: UInt64.self)
      let right = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: count &- 8, as: UInt64.self)
      return left == right
    }
    repeat {
      let left = unsafe line.unsafeLoad(fromUncheckedByteOffset: offset &+ index, as: UInt8.self)
      let right = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: index, as: UInt8.self)
      if left != right { return false }
      index &+= 1
    } while index < count
    return true
  }

  /// Eight bytes with their capital letters, of ASCII, in lower case.
  @inline(__always)
  static func folded(_ word: UInt64) -> UInt64 {
    let low = word & 0x7f7f_7f7f_7f7f_7f7f
    // The high bit of each byte: at least "A", and more than "Z".
    let fromA = low &+ 0x3f3f_3f3f_3f3f_3f3f
    let behindZ = low &+ 0x2525_2525_2525_2525
    return word | (fromA & ~behindZ & ~word & 0x8080_8080_8080_8080) >> 2
  }

  /// Whether `line` begins with `name`, whose letters may be of either case; the line's are lower-case.
  @inline(__always)
  static func isFoldedEqual(_ line: RawSpan, _ name: RawSpan) -> Bool {
    for index in 0..<name.byteCount {
      let byte = name[byte: index]
      if (byte >= 65 && byte <= 90 ? byte | 0x20 : byte) != line[byte: index] { return false }
    }
    return true
  }
}
