import Core

/// Base64 with the alphabet of addresses and without padding (RFC 4648 section 5, RFC 7515 appendix C).
public enum Base64URL {
  /// How many bytes so many characters stand for; nil where no text has that length. Constant time.
  public static func decodedCount(_ characterCount: Int) -> Int? {
    characterCount % 4 == 1 ? nil : characterCount / 4 * 3 + characterCount % 4 * 3 / 4
  }

  /// The bytes that `text` stands for; nil for padding, blanks, any other character, and bits behind the last byte that
  /// are not zero, so that one value has one text. Linear, some 0.5 ns a character; one allocation.
  public static func decode(_ text: RawSpan) -> [UInt8]? {
    guard let count = decodedCount(text.byteCount) else { return nil }
    var isCorrect = false
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { target, written in
      // `count` bytes are exactly what a text of this length stands for, and every one of them is written.
      isCorrect = unsafe text.withUnsafeBytes { unsafe write($0, to: UnsafeMutableRawBufferPointer(target)) }
      written = isCorrect ? count : 0
    }
    return isCorrect ? bytes : nil
  }

  /// As ``decode(_:)-(RawSpan)``, appended to `buffer`, which stays as it is where the text is refused.
  public static func decode(_ text: RawSpan, into buffer: ByteBuffer) -> Bool {
    guard let count = decodedCount(text.byteCount) else { return false }
    var isCorrect = false
    unsafe buffer.append(limit: count) { target in
      // As above.
      isCorrect = unsafe text.withUnsafeBytes { unsafe write($0, to: target) }
      return isCorrect ? count : 0
    }
    return isCorrect
  }

  /// The bytes that a string stands for, as ``decode(_:)-(RawSpan)``.
  public static func decode(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    return decode(RawSpan(characters))
  }

  /// The text of `bytes`.
  public static func encode(_ bytes: [UInt8]) -> String {
    let buffer = ByteBuffer(capacity: bytes.count / 3 * 4 + 4)
    encode(RawSpan(bytes), into: buffer)
    return buffer.text
  }

  /// Appends the text of `bytes` to `buffer`. Linear.
  public static func encode(_ bytes: RawSpan, into buffer: ByteBuffer) {
    let count = bytes.byteCount / 3 * 4 + (bytes.byteCount % 3 * 4 + 2) / 3
    unsafe buffer.append(limit: count) { target in
      unsafe bytes.withUnsafeBytes { unsafe characters($0, to: target) }
      return count
    }
  }

  private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

  /// Writes the text of `bytes` to `target`, which has exactly as many bytes.
  private static func characters(_ bytes: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer) {
    guard let source = bytes.baseAddress, let output = target.baseAddress else { return }
    // An index of six bits is below 64, the size of the alphabet; every three bytes have their four characters.
    let alphabet = unsafe Self.alphabet.utf8Start
    var from = unsafe source
    var to = unsafe output
    for _ in 0..<bytes.count / 3 {
      let first = unsafe UInt32(from.load(as: UInt8.self))
      let second = unsafe UInt32(from.load(fromByteOffset: 1, as: UInt8.self))
      let group = unsafe first << 16 | second << 8 | UInt32(from.load(fromByteOffset: 2, as: UInt8.self))
      unsafe to.storeBytes(of: alphabet[Int(group >> 18)], as: UInt8.self)
      unsafe to.storeBytes(of: alphabet[Int(group >> 12 & 63)], toByteOffset: 1, as: UInt8.self)
      unsafe to.storeBytes(of: alphabet[Int(group >> 6 & 63)], toByteOffset: 2, as: UInt8.self)
      unsafe to.storeBytes(of: alphabet[Int(group & 63)], toByteOffset: 3, as: UInt8.self)
      unsafe from += 3
      unsafe to += 4
    }
    let rest = bytes.count % 3
    if rest == 0 { return }
    let first = unsafe Int(from.load(as: UInt8.self))
    let second = unsafe rest == 2 ? Int(from.load(fromByteOffset: 1, as: UInt8.self)) : 0
    unsafe to.storeBytes(of: alphabet[first >> 2], as: UInt8.self)
    unsafe to.storeBytes(of: alphabet[(first << 4 | second >> 4) & 63], toByteOffset: 1, as: UInt8.self)
    if rest == 2 { unsafe to.storeBytes(of: alphabet[second << 2 & 63], toByteOffset: 2, as: UInt8.self) }
  }

  /// What each character stands for; ``wrong`` for all that stand for nothing.
  private static let values: InlineArray<256, UInt8> = {
    var table = InlineArray<256, UInt8>(repeating: wrong)
    // The alphabet has 64 characters.
    for value in UInt8(0)..<64 { unsafe table[Int(alphabet.utf8Start[Int(value)])] = value }
    return table
  }()

  /// No value of six bits, and the others keep clear of its top bits.
  private static let wrong: UInt8 = 0xff

  /// Writes what `text` stands for to `target`, which has exactly as many bytes; false where it stands for nothing.
  private static func write(_ text: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer) -> Bool {
    // Without a byte to write one of them may have no address.
    if unsafe text.isEmpty { return true }
    guard let source = text.baseAddress, let output = target.baseAddress else { return false }
    return unsafe values.span.withUnsafeBufferPointer { table in
      // A byte is below 256, the size of the table; every group of four characters has its three bytes in `target`.
      var seen: UInt8 = 0
      var from = unsafe source
      var to = unsafe output
      for _ in 0..<text.count / 4 {
        let word = unsafe from.loadUnaligned(as: UInt32.self)
        let first = unsafe table[Int(word & 0xff)]
        let second = unsafe table[Int(word >> 8 & 0xff)]
        let third = unsafe table[Int(word >> 16 & 0xff)]
        let fourth = unsafe table[Int(word >> 24)]
        seen |= first | second | third | fourth
        unsafe to.storeBytes(of: first << 2 | second >> 4, as: UInt8.self)
        unsafe to.storeBytes(of: second << 4 | third >> 2, toByteOffset: 1, as: UInt8.self)
        unsafe to.storeBytes(of: third << 6 | fourth, toByteOffset: 2, as: UInt8.self)
        unsafe from += 4
        unsafe to += 3
      }
      let rest = text.count % 4
      if rest > 1 {
        let first = unsafe table[Int(from.load(as: UInt8.self))]
        let second = unsafe table[Int(from.load(fromByteOffset: 1, as: UInt8.self))]
        let third = unsafe rest == 3 ? table[Int(from.load(fromByteOffset: 2, as: UInt8.self))] : 0
        seen |= first | second | third
        // The bits behind the last byte would give one value several texts.
        if rest == 2 ? second & 15 != 0 : third & 3 != 0 { return false }
        unsafe to.storeBytes(of: first << 2 | second >> 4, as: UInt8.self)
        if rest == 3 { unsafe to.storeBytes(of: second << 4 | third >> 2, toByteOffset: 1, as: UInt8.self) }
      }
      return seen < 64
    }
  }
}
