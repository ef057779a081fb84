/// Writes JSON into a byte buffer and puts the commas where they belong.
///
/// The caller keeps the order (a key before each member's value, every bracket closed); that is checked by
/// precondition only as far as it costs nothing. Allocates nothing itself.
public struct JSONWriter {
  /// Where the text goes.
  public let buffer: ByteBuffer
  private var needsComma = false

  /// A writer that appends to `buffer`.
  public init(_ buffer: ByteBuffer) { self.buffer = buffer }

  /// A writer that goes on where another one has stopped, in the middle of an object or array.
  public init(continuing buffer: ByteBuffer) {
    self.buffer = buffer
    let opening: [UInt8] = [UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: ":")]
    needsComma = buffer.count > 0 && !opening.contains(buffer.array[buffer.count - 1])
  }

  private mutating func beginValue() {
    if needsComma { buffer.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  /// Opens an object.
  public mutating func beginObject() {
    beginValue()
    buffer.append(UInt8(ascii: "{"))
    needsComma = false
  }

  /// Closes an object.
  public mutating func endObject() {
    buffer.append(UInt8(ascii: "}"))
    needsComma = true
  }

  /// Opens an array.
  public mutating func beginArray() {
    beginValue()
    buffer.append(UInt8(ascii: "["))
    needsComma = false
  }

  /// Closes an array.
  public mutating func endArray() {
    buffer.append(UInt8(ascii: "]"))
    needsComma = true
  }

  /// The name of the next member; a literal that needs no escapes.
  public mutating func key(_ name: StaticString) {
    beginValue()
    buffer.append(UInt8(ascii: "\""))
    buffer.append(name)
    buffer.append("\":")
    needsComma = false
  }

  /// The name of the next member.
  public mutating func key(_ name: String) {
    string(name)
    buffer.append(UInt8(ascii: ":"))
    needsComma = false
  }

  /// A string.
  public mutating func string(_ text: String) {
    beginValue()
    buffer.appendJSON(string: text)
  }

  /// A string of bytes; what is not UTF-8 becomes U+FFFD.
  public mutating func string(_ bytes: RawSpan) {
    beginValue()
    buffer.appendJSON(string: bytes)
  }

  /// A literal that needs no escapes.
  public mutating func literal(_ text: StaticString) {
    beginValue()
    buffer.append(UInt8(ascii: "\""))
    buffer.append(text)
    buffer.append(UInt8(ascii: "\""))
  }

  /// A whole number.
  public mutating func integer(_ value: Int64) {
    beginValue()
    buffer.append(decimal: value)
  }

  /// A number; what JSON cannot express (infinite, not a number) becomes null.
  public mutating func number(_ value: Double) {
    beginValue()
    if value.isFinite { buffer.append(utf8: "\(value)") } else { buffer.append("null") }
  }

  /// `true` or `false`.
  public mutating func bool(_ value: Bool) {
    beginValue()
    buffer.append(value ? "true" : "false")
  }

  /// `null`.
  public mutating func null() {
    beginValue()
    buffer.append("null")
  }

  /// JSON text that was written elsewhere, as it stands.
  public mutating func raw(_ text: String) {
    beginValue()
    buffer.append(utf8: text)
  }
}

extension ByteBuffer {
  /// Appends a JSON string with its quotes.
  public func appendJSON(string text: String) {
    var text = text
    text.withUTF8 { unsafe appendJSON(string: RawSpan(_unsafeElements: $0)) }
  }

  /// Appends a JSON string with its quotes; a byte that is not UTF-8 becomes U+FFFD. Linear, no allocation beyond the
  /// buffer's own growth.
  public func appendJSON(string bytes: RawSpan) {
    let count = bytes.byteCount
    reserve(count + 2)
    append(UInt8(ascii: "\""))
    var copied = 0
    var at = 0
    while at < count {
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: at, as: UInt8.self)
      if byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x5c {
        at &+= 1
        continue
      }
      let length = byte < 0x80 ? 0 : UTF8Sequence.length(bytes, at)
      if length > 0 {
        at &+= length
        continue
      }
      append(bytes.extracting(copied..<at))
      appendEscape(byte)
      at &+= 1
      copied = at
    }
    append(bytes.extracting(copied..<count))
    append(UInt8(ascii: "\""))
  }

  private func appendEscape(_ byte: UInt8) {
    switch byte {
    case 0x22: append("\\\"")
    case 0x5c: append("\\\\")
    case 0x0a: append("\\n")
    case 0x0d: append("\\r")
    case 0x09: append("\\t")
    case 0..<0x20, 0x7f:
      append("\\u")
      append(hexadecimal: UInt64(byte), minimumDigits: 4)
    default: append("\\ufffd")
    }
  }
}

/// Well-formed byte sequences of UTF-8 (Unicode 15, table 3-7).
enum UTF8Sequence {
  /// How many bytes the character at `offset` has, which is not ASCII; 0 where it is not well-formed.
  static func length(_ bytes: RawSpan, _ offset: Int) -> Int {
    func byte(_ at: Int) -> UInt8 {
      at < bytes.byteCount ? unsafe bytes.unsafeLoad(fromByteOffset: at, as: UInt8.self) : 0
    }
    func continues(_ at: Int) -> Bool { byte(at) & 0xc0 == 0x80 }
    let second = byte(offset + 1)
    switch byte(offset) {
    case 0xc2...0xdf: return continues(offset + 1) ? 2 : 0
    case 0xe0: return second >= 0xa0 && second <= 0xbf && continues(offset + 2) ? 3 : 0
    case 0xed: return second >= 0x80 && second <= 0x9f && continues(offset + 2) ? 3 : 0
    case 0xe1...0xef: return continues(offset + 1) && continues(offset + 2) ? 3 : 0
    case 0xf0: return second >= 0x90 && second <= 0xbf && continues(offset + 2) && continues(offset + 3) ? 4 : 0
    case 0xf4: return second >= 0x80 && second <= 0x8f && continues(offset + 2) && continues(offset + 3) ? 4 : 0
    case 0xf1...0xf3: return continues(offset + 1) && continues(offset + 2) && continues(offset + 3) ? 4 : 0
    default: return 0
    }
  }
}
