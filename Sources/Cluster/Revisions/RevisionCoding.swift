// How heads, bodies and last-good files are written: fields in a fixed order, numbers in network byte order, lengths in
// front. There is exactly one way to write a value, so that a digest or a signature of the bytes is one of the value.

/// Appends fields.
struct RevisionEncoder {
  private(set) var bytes: [UInt8] = []

  /// A text that says what follows, without a length.
  mutating func mark(_ text: StaticString) {
    text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func number<T: FixedWidthInteger>(_ value: T) {
    for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> T(shift)))
    }
  }

  mutating func block(_ block: [UInt8]) {
    number(UInt32(block.count))
    bytes += block
  }

  mutating func text(_ text: String) { block(Array(text.utf8)) }

  /// Bytes of a length that the reader knows.
  mutating func plain(_ plain: [UInt8]) { bytes += plain }
}

/// Reads fields; nil for what is not there, or is not what was written.
struct RevisionDecoder {
  private let bytes: [UInt8]
  private(set) var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Whether everything has been read.
  var isAtEnd: Bool { position == bytes.count }

  mutating func mark(_ text: StaticString) -> Bool {
    guard let found = plain(text.utf8CodeUnitCount) else { return false }
    return text.withUTF8Buffer { unsafe found.elementsEqual($0) }
  }

  mutating func number<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T? {
    guard let found = plain(T.bitWidth / 8) else { return nil }
    return found.reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
  }

  mutating func plain(_ count: Int) -> [UInt8]? {
    guard count >= 0, bytes.count - position >= count else { return nil }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  mutating func block(limit: Int) -> [UInt8]? {
    guard let count = number(UInt32.self), count <= limit else { return nil }
    return plain(Int(count))
  }

  mutating func text(limit: Int) -> String? {
    guard let found = block(limit: limit) else { return nil }
    return String(validating: found, as: UTF8.self)
  }

  /// 64 lower-case hexadecimal digits, written as 32 bytes.
  mutating func name() -> RevisionName? { plain(RevisionName.byteCount).map { RevisionName($0) } }
}
