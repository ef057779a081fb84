import Core

/// Reads the grammar of structured fields from the front of a text (RFC 9651 section 4.2).
struct StructuredReader {
  private let text: [UInt8]
  private let limits: StructuredLimits
  private var position = 0
  /// Whether a key came twice.
  private(set) var repeatsKeys = false

  init(_ text: [UInt8], _ limits: StructuredLimits) throws(StructuredFieldFault) {
    (self.text, self.limits) = (text, limits)
    guard text.count <= limits.bytes else { throw StructuredFieldFault(offset: limits.bytes) }
    skipSpaces()
  }

  /// Nothing but spaces may be left.
  mutating func end() throws(StructuredFieldFault) {
    skipSpaces()
    if position < text.count { throw fault }
  }

  // MARK: Members

  mutating func list() throws(StructuredFieldFault) -> [StructuredMember] {
    var members: [StructuredMember] = []
    while position < text.count {
      guard members.count < limits.members else { throw fault }
      members.append(try member())
      guard try nextMember() else { break }
    }
    return members
  }

  mutating func dictionary() throws(StructuredFieldFault) -> StructuredDictionary {
    var dictionary = StructuredDictionary()
    var places: [String: Int] = [:]
    var count = 0
    while position < text.count {
      count += 1
      guard count <= limits.members else { throw fault }
      let key = try key()
      let value = take("=") ? try member() : .item(StructuredItem(.boolean(true), try parameters()))
      if let place = places[key] {
        dictionary.members[place].value = value
        repeatsKeys = true
      } else {
        places[key] = dictionary.members.count
        dictionary.members.append((key, value))
      }
      guard try nextMember() else { break }
    }
    return dictionary
  }

  /// Whether another member follows; a comma at the end is a fault.
  private mutating func nextMember() throws(StructuredFieldFault) -> Bool {
    skipBlanks()
    guard position < text.count else { return false }
    guard take(",") else { throw fault }
    skipBlanks()
    guard position < text.count else { throw fault }
    return true
  }

  private mutating func member() throws(StructuredFieldFault) -> StructuredMember {
    byte == UInt8(ascii: "(") ? .list(try innerList()) : .item(try item())
  }

  private mutating func innerList() throws(StructuredFieldFault) -> StructuredInnerList {
    position += 1
    var items: [StructuredItem] = []
    while position < text.count {
      skipSpaces()
      if take(")") { return StructuredInnerList(items, try parameters()) }
      guard items.count < limits.items else { throw fault }
      items.append(try item())
      guard byte == 32 || byte == UInt8(ascii: ")") else { throw fault }
    }
    throw fault
  }

  mutating func item() throws(StructuredFieldFault) -> StructuredItem {
    StructuredItem(try value(), try parameters())
  }

  private mutating func parameters() throws(StructuredFieldFault) -> [StructuredParameter] {
    var parameters: [StructuredParameter] = []
    var places: [String: Int] = [:]
    var count = 0
    while take(";") {
      count += 1
      guard count <= limits.parameters else { throw fault }
      skipSpaces()
      let key = try key()
      let value = take("=") ? try value() : .boolean(true)
      if let place = places[key] {
        parameters[place].value = value
        repeatsKeys = true
      } else {
        places[key] = parameters.count
        parameters.append(StructuredParameter(key, value))
      }
    }
    return parameters
  }

  private mutating func key() throws(StructuredFieldFault) -> String {
    let start = position
    guard let first = byte, isLower(first) || first == UInt8(ascii: "*") else { throw fault }
    while let byte, isLower(byte) || isDigit(byte) || "_-.*".utf8.contains(byte) { position += 1 }
    return slice(start)
  }

  // MARK: Values

  private mutating func value() throws(StructuredFieldFault) -> StructuredValue {
    switch byte {
    case let first? where isDigit(first) || first == UInt8(ascii: "-"): return try number()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: ":"): return .bytes(try bytes())
    case UInt8(ascii: "?"): return .boolean(try boolean())
    case UInt8(ascii: "@"): return try date()
    case UInt8(ascii: "%"): return .display(try display())
    case UInt8(ascii: "*"): return .token(token())
    case let first? where isLower(first | 32): return .token(token())
    default: throw fault
    }
  }

  private mutating func date() throws(StructuredFieldFault) -> StructuredValue {
    position += 1
    guard case .integer(let seconds) = try number() else { throw fault }
    return .date(seconds)
  }

  private mutating func number() throws(StructuredFieldFault) -> StructuredValue {
    let isNegative = take("-")
    let start = position
    var whole: Int64 = 0
    while let byte, isDigit(byte) {
      guard position - start < 15 else { throw fault }
      whole = whole * 10 + Int64(byte - 48)
      position += 1
    }
    let digits = position - start
    guard digits > 0 else { throw fault }
    guard take(".") else { return .integer(isNegative ? -whole : whole) }
    guard digits <= 12 else { throw fault }
    var (fraction, scale) = (Int64(0), Int64(1_000))
    while let byte, isDigit(byte) {
      guard scale > 1 else { throw fault }
      scale /= 10
      fraction += Int64(byte - 48) * scale
      position += 1
    }
    guard scale < 1_000 else { throw fault }
    let thousandths = whole * 1_000 + fraction
    return .decimal(thousandths: isNegative ? -thousandths : thousandths)
  }

  private mutating func string() throws(StructuredFieldFault) -> String {
    position += 1
    var characters: [UInt8] = []
    while let byte {
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: characters, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let escaped = self.byte, escaped == UInt8(ascii: "\"") || escaped == UInt8(ascii: "\\") else {
          throw fault
        }
        position += 1
        characters.append(escaped)
      case 0x20...0x7e: characters.append(byte)
      default: throw fault
      }
    }
    throw fault
  }

  private mutating func token() -> String {
    let start = position
    position += 1
    while let byte, isLower(byte | 32) || isDigit(byte) || "!#$%&'*+-.^_`|~:/".utf8.contains(byte) { position += 1 }
    return slice(start)
  }

  private mutating func boolean() throws(StructuredFieldFault) -> Bool {
    position += 1
    if take("1") { return true }
    if take("0") { return false }
    throw fault
  }

  private mutating func bytes() throws(StructuredFieldFault) -> [UInt8] {
    position += 1
    let start = position
    while let byte, byte != UInt8(ascii: ":") { position += 1 }
    guard byte != nil, let bytes = StructuredBase64.decode(text[start..<position]) else { throw fault }
    position += 1
    return bytes
  }

  private mutating func display() throws(StructuredFieldFault) -> String {
    position += 1
    guard take("\"") else { throw fault }
    var characters: [UInt8] = []
    while let byte {
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: characters, as: UTF8.self) else { throw fault }
        return text
      case UInt8(ascii: "%"):
        guard let high = hexadecimal(), let low = hexadecimal() else { throw fault }
        characters.append(high << 4 | low)
      case 0x20...0x7e: characters.append(byte)
      default: throw fault
      }
    }
    throw fault
  }

  /// A digit in lower case, which is the only one that is good here.
  private mutating func hexadecimal() -> UInt8? {
    guard let byte, isDigit(byte) || byte >= 97 && byte <= 102 else { return nil }
    position += 1
    return isDigit(byte) ? byte - 48 : byte - 87
  }

  // MARK: Bytes

  private var byte: UInt8? { position < text.count ? text[position] : nil }

  private var fault: StructuredFieldFault { StructuredFieldFault(offset: position) }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard byte == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private func slice(_ start: Int) -> String { String(decoding: text[start..<position], as: UTF8.self) }

  private mutating func skipSpaces() { while byte == 32 { position += 1 } }

  private mutating func skipBlanks() { while byte == 32 || byte == 9 { position += 1 } }

  private func isLower(_ byte: UInt8) -> Bool { byte >= 97 && byte <= 122 }

  private func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
}

/// Base64 (RFC 4648 section 4) with padding; one text for each value.
enum StructuredBase64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    let padding = text.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3)
    var (bits, count) = (UInt32(0), 0)
    for character in text.dropLast(padding) {
      guard let value = value(of: character) else { return nil }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return bits & (1 << UInt32(count) - 1) == 0 ? bytes : nil
  }

  private static func value(of character: UInt8) -> UInt8? {
    switch character {
    case 65...90: character - 65
    case 97...122: character - 71
    case 48...57: character + 4
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }

  static func append(_ bytes: [UInt8], to text: inout [UInt8]) {
    var index = 0
    while index < bytes.count {
      let rest = min(3, bytes.count - index)
      var bits = UInt32(0)
      for offset in 0..<3 { bits = bits << 8 | (offset < rest ? UInt32(bytes[index + offset]) : 0) }
      for offset in 0..<4 {
        let isPadding = offset > rest
        text.append(isPadding ? UInt8(ascii: "=") : alphabet[Int(bits >> UInt32(18 - 6 * offset) & 63)])
      }
      index += 3
    }
  }
}
