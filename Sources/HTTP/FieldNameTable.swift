import Core

// Known field names are found by a hash over their first and last eight bytes and confirmed word by word, both with 0x20
// OR-ed into every byte. That fold is exact here: a letter of the table can only come from that letter in either case,
// and '-' or a digit only from itself or from a control byte, which no name that is looked up holds. A name that is found
// is therefore a token, and nobody has to look at its bytes again.

/// The table behind ``FieldName/of(_:)``, immutable and shared.
struct FieldNameTable: Sendable {
  static let shared = FieldNameTable()

  /// No known name is longer, in bytes.
  static let longest = 32
  /// Words of one entry: the first and the last eight bytes, those from 8 and from 16 on, and the length.
  static let entryWords = 8
  /// A power of two, so large that few names collide.
  static let slotCount = 512
  private static let fold: UInt64 = 0x2020_2020_2020_2020

  /// One entry of ``entryWords`` words for each ``FieldName``, by raw value.
  let words: ContiguousArray<UInt64>
  /// Open addressing by hash: raw values of names, 0 where a slot is free.
  let slots: ContiguousArray<UInt8>

  private init() {
    var words = ContiguousArray<UInt64>(repeating: 0, count: FieldName.allCases.count * Self.entryWords)
    var slots = ContiguousArray<UInt8>(repeating: 0, count: Self.slotCount)
    for name in FieldName.allCases where name != .other {
      let text = Array("\(name.canonical)".utf8)
      precondition(text.count <= Self.longest)
      let bytes = RawSpan(text)
      let entry = Int(name.rawValue) * Self.entryWords
      words[entry] = Self.first(count: text.count, Self.word(bytes, at: 0))
      words[entry + 1] = text.count > 8 ? Self.word(bytes, at: text.count - 8) | Self.fold : 0
      words[entry + 2] = text.count > 16 ? Self.word(bytes, at: 8) | Self.fold : 0
      words[entry + 3] = text.count > 24 ? Self.word(bytes, at: 16) | Self.fold : 0
      words[entry + 4] = UInt64(text.count)
      var slot = Self.hash(count: text.count, first: words[entry], last: words[entry + 1])
      while slots[slot] != 0 { slot = (slot + 1) % Self.slotCount }
      slots[slot] = name.rawValue
    }
    self.words = words
    self.slots = slots
  }

  /// The folded first word of a name of `count` bytes; what `word` holds behind a shorter name is cut off.
  @inline(__always)
  private static func first(count: Int, _ word: UInt64) -> UInt64 {
    let folded = word | fold
    return count < 8 ? folded & (UInt64.max &>> UInt64(truncatingIfNeeded: 64 &- 8 &* count)) : folded
  }

  @inline(__always)
  private static func hash(count: Int, first: UInt64, last: UInt64) -> Int {
    // Any odd multiplier would do; this one spreads the known names well.
    let mixed = (first ^ (last &<< 1)) &* 0xd6e8_feb8_6659_fd93
    return Int(truncatingIfNeeded: mixed >> 55)
  }

  /// The raw value of the name of `count` bytes, or 0. `word` tells eight bytes from an offset within the name on;
  /// `slots` and `words` tell what the arrays of that name hold.
  @inline(__always)
  static func find(
    count: Int, word: (Int) -> UInt64, slots: (Int) -> UInt8, words: (Int) -> UInt64
  ) -> UInt8 {
    if UInt(bitPattern: count &- 1) >= UInt(bitPattern: longest) { return 0 }
    let head = first(count: count, word(0))
    let last = count > 8 ? word(count &- 8) | fold : 0
    var slot = hash(count: count, first: head, last: last)
    while case let name = slots(slot), name != 0 {
      let entry = Int(name) &* entryWords
      let differs = (words(entry) ^ head) | (words(entry &+ 1) ^ last) | (words(entry &+ 4) ^ UInt64(count))
      if differs == 0 && (count <= 16 || agreesInside(count: count, entry, word: word, words: words)) { return name }
      slot = (slot &+ 1) & (slotCount &- 1)
    }
    return 0
  }

  @inline(__always)
  private static func agreesInside(
    count: Int, _ entry: Int, word: (Int) -> UInt64, words: (Int) -> UInt64
  ) -> Bool {
    word(8) | fold == words(entry &+ 2) && (count <= 24 || word(16) | fold == words(entry &+ 3))
  }

  /// The name with this spelling in any case, or `.other`.
  func find(_ name: RawSpan) -> FieldName {
    for index in 0..<name.byteCount where name[byte: index] < 0x20 { return .other }
    let found = Self.find(
      count: name.byteCount, word: { Self.word(name, at: $0) }, slots: { slots[$0] }, words: { words[$0] })
    return FieldName(rawValue: found) ?? .other
  }

  /// Up to eight bytes from `offset` on, first byte lowest, zeros behind the end.
  private static func word(_ bytes: RawSpan, at offset: Int) -> UInt64 {
    var word: UInt64 = 0
    for index in offset..<min(offset + 8, bytes.byteCount) {
      word |= UInt64(bytes[byte: index]) << UInt64((index - offset) * 8)
    }
    return word
  }
}
