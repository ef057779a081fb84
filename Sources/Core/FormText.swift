// What forms send and what endpoints of OAuth read and write (`application/x-www-form-urlencoded`): written as RFC 6749
// appendix B has it, read strictly. What is written twice is told by nobody the same way, so it is refused at once: the
// one check that a client and a server behind it could otherwise be played against each other with.

/// Text in the form of `application/x-www-form-urlencoded`, for slow paths.
public enum FormText {
  /// What a request says of such a body.
  public static let contentType = "application/x-www-form-urlencoded"

  /// `text` with everything escaped but letters, digits, `*`, `-`, `.` and `_`; a space becomes `+`.
  public static func encoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    append(text, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A body of these fields, in this order.
  public static func body(_ fields: [FormField]) -> [UInt8] {
    var bytes: [UInt8] = []
    for field in fields {
      if !bytes.isEmpty { bytes.append(UInt8(ascii: "&")) }
      append(field.name, to: &bytes)
      bytes.append(UInt8(ascii: "="))
      append(field.value, to: &bytes)
    }
    return bytes
  }

  private static func append(_ text: String, to bytes: inout [UInt8]) {
    let digits = Array("0123456789ABCDEF".utf8)
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"):
        bytes.append(byte)
      case UInt8(ascii: " "): bytes.append(UInt8(ascii: "+"))
      default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
  }
}

/// A name and its value.
public struct FormField: Hashable, Sendable {
  /// Its name.
  public let name: String
  /// Its value.
  public let value: String

  /// A field.
  public init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}

/// The fields of a form that somebody has sent. Immutable.
public struct FormFields: Equatable, Sendable {
  /// The most bytes of a form.
  public static let longest = 65_536
  /// The most fields of a form.
  public static let mostFields = 64

  /// Why a text is no such form.
  public enum Fault: Error, Equatable, Sendable {
    /// It has more than ``FormFields/longest`` bytes, or ``FormFields/mostFields`` fields.
    case tooLong
    /// A `%` begins no escape, or what comes out is not UTF-8.
    case malformed
    /// The field of this name is there more than once.
    case repeated(String)
  }

  /// All of them, in the order of the text.
  public let fields: [FormField]

  /// Reads a form: a body, or a query without its question mark. Names count as they are meant, not as they are escaped; each
  /// may be there once, but for those of `repeatable`. A field without `=` has an empty value; empty parts are passed over.
  /// Linear in the text but for the names, each of which is compared with those before it.
  public init(
    _ text: RawSpan, limit: Int = FormFields.longest, repeatable: [String] = []
  ) throws(Fault) {
    guard text.byteCount <= min(limit, Self.longest) else { throw .tooLong }
    var fields: [FormField] = []
    var start = 0
    while start < text.byteCount {
      var end = start
      var equals: Int?
      while end < text.byteCount, text[byte: end] != UInt8(ascii: "&") {
        if equals == nil, text[byte: end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      if end > start {
        let name = try Self.decoded(text.extracting(start..<(equals ?? end)))
        let value = try Self.decoded(text.extracting((equals.map { $0 + 1 } ?? end)..<end))
        if !repeatable.contains(name), fields.contains(where: { $0.name == name }) { throw .repeated(name) }
        guard fields.count < Self.mostFields else { throw .tooLong }
        fields.append(FormField(name, value))
      }
      start = end + 1
    }
    self.fields = fields
  }

  /// The value of the (first) field of this name; nil where there is none.
  public subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

  /// The values of all fields of this name.
  public func values(of name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }

  private static func decoded(_ text: RawSpan) throws(Fault) -> String {
    var spaced: [UInt8] = []
    spaced.reserveCapacity(text.byteCount)
    for offset in 0..<text.byteCount {
      let byte = text[byte: offset]
      spaced.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
    }
    guard let bytes = PercentText.bytes(spaced), let decoded = String(validating: bytes, as: UTF8.self) else {
      throw .malformed
    }
    return decoded
  }
}
