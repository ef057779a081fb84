// Addresses as text. The reader is strict, since what it accepts decides who is let in: dotted quads have exactly four
// decimal parts without leading zeros (which some read as octal), IPv6 follows RFC 4291 section 2.2 with at most one `::`
// that stands for at least one group, and zones (`fe80::1%eth0`) are refused. The writer follows RFC 5952.

extension IPAddress {
  /// The longest text of an address: eight groups of four digits.
  static let longestText = 45

  /// Reads an IPv4 or IPv6 address that fills `text` exactly; nil for anything else. Without brackets, zone or port.
  public init?(parsing text: RawSpan) {
    guard text.byteCount >= 2, text.byteCount <= Self.longestText else { return nil }
    var isV6 = false
    for offset in 0..<text.byteCount where text[byte: offset] == UInt8(ascii: ":") { isV6 = true }
    if isV6 {
      guard let address = Self.parseV6(text) else { return nil }
      self = address
    } else {
      guard let bits = Self.parseV4(text, from: 0) else { return nil }
      self.init(v4: bits)
    }
  }

  /// Reads an IPv4 or IPv6 address; nil for anything else.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(parsing: RawSpan(bytes))
  }

  /// Four decimal parts that end with `text`.
  private static func parseV4(_ text: RawSpan, from start: Int) -> UInt32? {
    var bits: UInt32 = 0
    var parts = 0
    var digits = 0
    var part: UInt32 = 0
    for offset in start..<text.byteCount {
      let byte = text[byte: offset]
      if byte == UInt8(ascii: ".") {
        guard digits > 0, parts < 3 else { return nil }
        bits = bits << 8 | part
        parts += 1
        digits = 0
        part = 0
      } else {
        guard byte >= 48, byte <= 57, digits == 0 || part != 0 else { return nil }
        part = part * 10 + UInt32(byte - 48)
        digits += 1
        guard part <= 255 else { return nil }
      }
    }
    return parts == 3 && digits > 0 ? bits << 8 | part : nil
  }

  private static func parseV6(_ text: RawSpan) -> IPAddress? {
    var groups: [8 of UInt16] = [8 of UInt16](repeating: 0)
    var count = 0
    /// How many groups stand before `::`.
    var gap: Int?
    var offset = 0
    let end = text.byteCount
    if text[byte: 0] == UInt8(ascii: ":") {
      guard text[byte: 1] == UInt8(ascii: ":") else { return nil }
      gap = 0
      offset = 2
    }
    while offset < end {
      guard count < 8 else { return nil }
      let start = offset
      var group: UInt32 = 0
      while offset < end, offset - start < 5, let digit = hexadecimal(text[byte: offset]) {
        group = group << 4 | UInt32(digit)
        offset += 1
      }
      if offset < end, text[byte: offset] == UInt8(ascii: ".") {
        guard count <= 6, let bits = parseV4(text, from: start) else { return nil }
        groups[count] = UInt16(bits >> 16)
        groups[count + 1] = UInt16(truncatingIfNeeded: bits)
        count += 2
        break
      }
      guard offset > start, offset - start <= 4 else { return nil }
      groups[count] = UInt16(group)
      count += 1
      if offset == end { break }
      guard text[byte: offset] == UInt8(ascii: ":") else { return nil }
      offset += 1
      // A single colon must be followed by a group.
      guard offset < end else { return nil }
      if text[byte: offset] == UInt8(ascii: ":") {
        guard gap == nil else { return nil }
        gap = count
        offset += 1
      }
    }
    if let gap {
      guard count < 8 else { return nil }
      let behind = count - gap
      for index in 0..<behind {
        groups[7 - index] = groups[count - 1 - index]
        if count - 1 - index < 8 - behind { groups[count - 1 - index] = 0 }
      }
    } else if count != 8 {
      return nil
    }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for index in 0..<4 {
      high = high << 16 | UInt64(groups[index])
      low = low << 16 | UInt64(groups[index + 4])
    }
    return IPAddress(high: high, low: low)
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
  }

  /// Appends the address in its canonical form (RFC 5952): lower case, the longest run of at least two zero groups as
  /// `::`, the first of several equally long ones. An IPv4-mapped address is written as IPv4.
  public func append(to buffer: ByteBuffer) {
    if isV4 {
      for shift in stride(from: 24, through: 0, by: -8) {
        buffer.append(decimal: UInt64(v4 >> UInt32(shift) & 255))
        if shift > 0 { buffer.append(UInt8(ascii: ".")) }
      }
      return
    }
    var bestStart = 8
    var bestCount = 1
    var runStart = 0
    for index in 0...8 {
      if index < 8, group(index) == 0 { continue }
      if index - runStart > bestCount {
        bestStart = runStart
        bestCount = index - runStart
      }
      runStart = index + 1
    }
    var index = 0
    while index < 8 {
      if index == bestStart {
        buffer.append("::")
        index += bestCount
        continue
      }
      if index > 0, index != bestStart + bestCount { buffer.append(UInt8(ascii: ":")) }
      buffer.append(hexadecimal: UInt64(group(index)))
      index += 1
    }
  }

  private func group(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64((3 - index & 3) * 16))
  }
}

extension IPAddress: CustomStringConvertible {
  /// The canonical text, as ``append(to:)`` writes it.
  public var description: String {
    let buffer = ByteBuffer(capacity: Self.longestText)
    append(to: buffer)
    return buffer.text
  }
}

extension ByteBuffer {
  /// What waits, read as UTF-8; malformed bytes become U+FFFD. For messages and tests: it allocates.
  public var text: String { String(decoding: array, as: UTF8.self) }

  /// A copy of what waits. It allocates.
  public var array: [UInt8] { bytes.array }
}

extension RawSpan {
  /// The byte at `offset`, checked.
  @inlinable
  public subscript(byte offset: Int) -> UInt8 {
    // The load checks its bounds; it is marked unsafe only because it is generic.
    unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// A copy of the bytes. It allocates.
  public var array: [UInt8] { unsafe withUnsafeBytes { unsafe [UInt8]($0) } }
}
