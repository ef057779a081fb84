import Core

// The Huffman code of RFC 7541 appendix B. It is canonical, so that the lengths of the codes say everything: codes of one
// length are consecutive, in the order of their symbols.
//
// Decoding looks ten bits up at once, which settles everything that text is made of; longer codes are found by length.

/// Encodes and decodes with the code of RFC 7541 appendix B.
@safe
struct HPACKHuffman: ~Copyable {
  /// Bits that one look-up settles.
  private static let windowBits = 10
  /// The longest code, that of the end-of-string symbol among them.
  private static let longestCode = 30
  private static let endOfString = 256

  /// Bits of the code of each byte, and of the end-of-string symbol.
  private static let lengths: [UInt8] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22,
    23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22,
    22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26,
    26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27,
    27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27,
    27, 27, 27, 27, 26, 30,
  ]

  /// For each byte its code, shifted by eight, and the code's length.
  private let codes: UnsafeMutablePointer<UInt64>
  /// For each ten bits the symbol whose code they begin with and, shifted by eight, its length; 0 where it is longer.
  private let short: UnsafeMutablePointer<UInt16>
  /// All symbols by length and value.
  private let symbols: UnsafeMutablePointer<UInt16>
  /// For each length the first code that is longer, in the topmost of 32 bits; and by how much the index of a code of
  /// that length in `symbols` is beyond its value.
  private var bounds = InlineArray<32, UInt64>(repeating: 0)
  private var offsets = InlineArray<32, Int>(repeating: 0)

  init() {
    unsafe codes = .allocate(capacity: 256)
    unsafe short = .allocate(capacity: 1 << Self.windowBits)
    unsafe symbols = .allocate(capacity: Self.lengths.count)
    unsafe short.initialize(repeating: 0, count: 1 << Self.windowBits)
    var code: UInt64 = 0
    var index = 0
    for length in 1...Self.longestCode {
      code <<= 1
      offsets[length] = index - Int(code)
      for symbol in Self.lengths.indices where Int(Self.lengths[symbol]) == length {
        unsafe (symbols + index).initialize(to: UInt16(symbol))
        index += 1
        if symbol < Self.endOfString { unsafe (codes + symbol).initialize(to: code << 8 | UInt64(length)) }
        if length <= Self.windowBits {
          let first = Int(code) << (Self.windowBits - length)
          for slot in 0..<1 << (Self.windowBits - length) {
            unsafe short[first + slot] = UInt16(length << 8 | symbol)
          }
        }
        code += 1
      }
      bounds[length] = code << UInt64(32 - length)
    }
  }

  deinit {
    unsafe codes.deallocate()
    unsafe short.deallocate()
    unsafe symbols.deallocate()
  }

  /// How many bytes the text of `encoded` bytes has at most: the shortest codes have five bits.
  static func longestText(_ encoded: Int) -> Int { encoded * 8 / 5 + 8 }

  /// Appends the text that `bytes` spell; false where they are no text: a code that is cut short, padding that is longer
  /// than seven bits or not of ones, or the end-of-string symbol (RFC 7541 section 5.2).
  func decode(_ bytes: RawSpan, to target: ByteBuffer) -> Bool {
    var isText = true
    unsafe target.append(limit: Self.longestText(bytes.byteCount)) { memory in
      guard let base = memory.baseAddress else { return 0 }
      let count = unsafe decode(bytes, into: base.assumingMemoryBound(to: UInt8.self))
      isText = count >= 0
      return max(count, 0)
    }
    return isText
  }

  /// Writes the text to `target`, which has room for ``longestText(_:)`` bytes; −1 where there is none.
  private func decode(_ bytes: RawSpan, into target: UnsafeMutablePointer<UInt8>) -> Int {
    let count = bytes.byteCount
    var window: UInt64 = 0
    var held = 0
    var next = 0
    var written = 0
    while true {
      // At least 56 bits, or all that is left.
      if count &- next >= 8 {
        let word = UInt64(bigEndian: unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: next, as: UInt64.self))
        window |= word &>> UInt64(truncatingIfNeeded: held)
        let taken = (63 &- held) / 8
        next &+= taken
        held &+= taken &* 8
      } else {
        while held <= 56, next < count {
          window |=
            UInt64(unsafe bytes.unsafeLoad(fromUncheckedByteOffset: next, as: UInt8.self)) &<< UInt64(56 &- held)
          next &+= 1
          held &+= 8
        }
      }
      repeat {
        // Ten bits index 1,024 entries. Every symbol written has taken at least five bits of input.
        let entry = unsafe short[Int(truncatingIfNeeded: window &>> 54)]
        var length = Int(entry &>> 8)
        var symbol = entry & 0xff
        if entry == 0 {
          let found = findLong(window)
          length = found.length
          symbol = found.symbol
        }
        if length > held { return isPadding(window, held) && next == count ? written : -1 }
        if symbol == Self.endOfString { return -1 }
        unsafe target[written] = UInt8(truncatingIfNeeded: symbol)
        written &+= 1
        window &<<= UInt64(truncatingIfNeeded: length)
        held &-= length
      } while held >= Self.longestCode || (next == count && held > 0)
      if next == count && held == 0 { return written }
    }
  }

  /// The symbol whose code, of more than ten bits, stands at the top of `window`.
  @inline(never)
  private func findLong(_ window: UInt64) -> (symbol: UInt16, length: Int) {
    let top = window >> 32
    var length = Self.windowBits + 1
    while length < Self.longestCode, top >= bounds[length] { length += 1 }
    let index = Int(top >> UInt64(32 - length)) + offsets[length]
    // The code is complete, so every value below a bound is one of a symbol; ones beyond the last are end-of-string.
    return (unsafe symbols[min(index, Self.lengths.count - 1)], length)
  }

  /// Whether the `count` bits at the top of `window` may end a text.
  private func isPadding(_ window: UInt64, _ count: Int) -> Bool {
    count < 8 && (count == 0 || window >> UInt64(64 - count) == (1 << UInt64(count)) - 1)
  }

  /// How many bytes `text` has once encoded.
  func encodedCount(_ text: RawSpan) -> Int {
    var bits: UInt64 = 0
    for index in 0..<text.byteCount {
      bits &+= unsafe codes[Int(text[byte: index])] & 0xff
    }
    return Int(bits + 7) / 8
  }

  /// Appends the encoded form of `text`, which has `count` bytes.
  func encode(_ text: RawSpan, count: Int, to target: ByteBuffer) {
    unsafe target.append(limit: count) { memory in
      var window: UInt64 = 0
      var held: UInt64 = 0
      var written = 0
      for index in 0..<text.byteCount {
        let code = unsafe codes[Int(text[byte: index])]
        window = window << (code & 0xff) | code >> 8
        held &+= code & 0xff
        while held >= 8 {
          held &-= 8
          unsafe memory[written] = UInt8(truncatingIfNeeded: window >> held)
          written += 1
        }
      }
      if held > 0 {
        // Padded with the beginning of the end-of-string symbol: ones.
        unsafe memory[written] = UInt8(truncatingIfNeeded: window << (8 - held) | (0xff >> held))
        written += 1
      }
      precondition(written == count)
      return written
    }
  }
}
