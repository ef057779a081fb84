import Core

// Known field names are found by a hash over their folded first and last eight bytes and confirmed word by word. The
// confirmation is exact: a word is OR-ed with 0x20 only where the expected byte is a letter, so 'h' can only have been
// 'h' or 'H', and '-' only '-'. A name that is found is therefore a token, and nobody has to look at its bytes again.

/// The table behind ``FieldName/of(_:)``, immutable and shared.
struct FieldNameTable: Sendable {
  static let shared = FieldNameTable()

  /// The longest known name has 32 bytes.
  static let wordLimit = 4
  /// Words of one entry: for each word of the name what to OR, what to keep and what must remain; then the length.
  static let entryWords = 16
  static let slotCount = 512

  /// One entry of ``entryWords`` words for each ``FieldName``, by raw value.
  let words: ContiguousArray<UInt64>
  /// Open addressing by hash: raw values of names, 0 where a slot is free.
  let slots: ContiguousArray<UInt8>

  private init() {
    var words = ContiguousArray<UInt64>(repeating: 0, count: FieldName.allCases.count * Self.entryWords)
    var slots = ContiguousArray<UInt8>(repeating: 0, count: Self.slotCount)
    for name in FieldName.allCases where name != .other {
      let text = Array("\(name.canonical)".utf8)
      precondition(text.count <= Self.wordLimit * 8)
      let entry = Int(name.rawValue) * Self.entryWords
      for (index, byte) in text.enumerated() {
        let isLetter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
        let shift = UInt64(index % 8 * 8)
        words[entry + index / 8] |= (isLetter ? 0x20 : 0) << shift
        words[entry + 4 + index / 8] |= 0xff << shift
        words[entry + 8 + index / 8] |= UInt64(isLetter ? byte | 0x20 : byte) << shift
      }
      words[entry + 12] = UInt64(text.count)
      let bytes = RawSpan(text)
      var slot = Self.hash(count: text.count, first: Self.word(bytes, at: 0), last: Self.lastWord(bytes))
      while slots[slot] != 0 { slot = (slot + 1) % Self.slotCount }
      slots[slot] = name.rawValue
    }
    self.words = words
    self.slots = slots
  }

  /// Where to look for a name of `count` bytes: `first` are its first eight (zeros behind a shorter one), `last` its
  /// last eight, or 0 where it has no more than eight.
  @inline(__always)
  static func hash(count: Int, first: UInt64, last: UInt64) -> Int {
    let fold: UInt64 = 0x2020_2020_2020_2020
    // A multiplier under which few known names collide; any odd one would be correct.
    let mixed =
      ((first | fold) ^ (last | fold) &* 0x9e37_79b9_7f4a_7c15 &+ UInt64(truncatingIfNeeded: count))
      &* 0xd6e8_feb8_6659_fd93
    return Int(truncatingIfNeeded: mixed >> 55)
  }

  /// The name with this spelling in any case, or `.other`.
  func find(_ name: RawSpan) -> FieldName {
    let count = name.byteCount
    guard count >= 2, count <= Self.wordLimit * 8 else { return .other }
    var slot = Self.hash(count: count, first: Self.word(name, at: 0), last: Self.lastWord(name))
    while slots[slot] != 0 {
      let entry = Int(slots[slot]) * Self.entryWords
      if words[entry + 12] == UInt64(count) {
        var differs: UInt64 = 0
        for index in 0..<(count + 7) / 8 {
          let folded = (Self.word(name, at: index * 8) | words[entry + index]) & words[entry + 4 + index]
          differs |= folded ^ words[entry + 8 + index]
        }
        if differs == 0 { return FieldName(rawValue: slots[slot]) ?? .other }
      }
      slot = (slot + 1) % Self.slotCount
    }
    return .other
  }

  /// Up to eight bytes from `offset` on, first byte lowest, zeros behind the end.
  private static func word(_ bytes: RawSpan, at offset: Int) -> UInt64 {
    var word: UInt64 = 0
    for index in offset..<min(offset + 8, bytes.byteCount) {
      word |= UInt64(bytes[byte: index]) << UInt64((index - offset) * 8)
    }
    return word
  }

  private static func lastWord(_ bytes: RawSpan) -> UInt64 {
    bytes.byteCount > 8 ? word(bytes, at: bytes.byteCount - 8) : 0
  }
}
