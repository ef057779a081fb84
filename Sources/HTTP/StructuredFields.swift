// Structured fields (RFC 9651, which replaces RFC 8941): values of header fields with a grammar that all share.
//
// What is read are plain values; what is written is the one text that the standard has for each. Nothing calls itself: an
// inner list holds items, and nothing holds inner lists but the top. Byte sequences are read strictly, with padding and
// without loose bits, so that one value has one text. Where a key comes twice the last one counts, as the standard has it,
// and it is noted, since whoever verifies something wants nothing that can be read two ways.

/// A single value (RFC 9651 section 3.3).
public enum StructuredValue: Hashable, Sendable {
  /// At most fifteen digits.
  case integer(Int64)
  /// A decimal number in thousandths, at most twelve digits before the point.
  case decimal(thousandths: Int64)
  /// Printable ASCII.
  case string(String)
  /// A word.
  case token(String)
  /// Any bytes.
  case bytes([UInt8])
  /// `?1` or `?0`.
  case boolean(Bool)
  /// Seconds since 1970.
  case date(Int64)
  /// Any text.
  case display(String)

  /// The number where it is a whole one.
  public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
  /// The text where it is a string.
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The bytes where it is a sequence of them.
  public var bytes: [UInt8]? { if case .bytes(let value) = self { value } else { nil } }
}

/// A parameter of an item or an inner list.
public struct StructuredParameter: Hashable, Sendable {
  /// Its key.
  public let key: String
  /// Its value; true where none is written.
  public var value: StructuredValue

  /// A parameter.
  public init(_ key: String, _ value: StructuredValue) { (self.key, self.value) = (key, value) }
}

/// A value with parameters, each key once.
public struct StructuredItem: Hashable, Sendable {
  /// The value.
  public var value: StructuredValue
  /// Its parameters, in order.
  public var parameters: [StructuredParameter]

  /// An item.
  public init(_ value: StructuredValue, _ parameters: [StructuredParameter] = []) {
    (self.value, self.parameters) = (value, parameters)
  }
}

/// Items in parentheses, with parameters of their own.
public struct StructuredInnerList: Hashable, Sendable {
  /// The items.
  public var items: [StructuredItem]
  /// The parameters of the list, in order.
  public var parameters: [StructuredParameter]

  /// An inner list.
  public init(_ items: [StructuredItem], _ parameters: [StructuredParameter] = []) {
    (self.items, self.parameters) = (items, parameters)
  }
}

/// What a list or a dictionary holds.
public enum StructuredMember: Hashable, Sendable {
  /// An item.
  case item(StructuredItem)
  /// An inner list.
  case list(StructuredInnerList)
}

/// Members by key, each key once, in the order in which the keys came first.
public struct StructuredDictionary: Equatable, Sendable {
  /// The members.
  public internal(set) var members: [(key: String, value: StructuredMember)] = []

  /// The member of this key; looks at every one.
  public subscript(key: String) -> StructuredMember? { members.first { $0.key == key }?.value }

  /// Whether both have the same members in the same order.
  public static func == (left: StructuredDictionary, right: StructuredDictionary) -> Bool {
    left.members.elementsEqual(right.members) { $0.key == $1.key && $0.value == $1.value }
  }
}

/// Why a value is no structured field.
public struct StructuredFieldFault: Error, Equatable, Sendable {
  /// How many bytes had been read.
  public let offset: Int
}

/// How much is read of one field. The standard wants all of it to be offered; whoever knows his field may want less.
public struct StructuredLimits: BitwiseCopyable, Sendable {
  /// Bytes of the whole value.
  public var bytes = 65_536
  /// Members of a list or a dictionary.
  public var members = 1_024
  /// Items of an inner list.
  public var items = 256
  /// Parameters of one item.
  public var parameters = 256

  /// What RFC 9651 section 3 wants to be read.
  public init() {}
}

/// Reads fields. `text` is the field's value; of several lines, those joined with `", "`.
public enum StructuredField {
  /// An item.
  public static func item(_ text: [UInt8], limits: StructuredLimits = StructuredLimits()) throws(StructuredFieldFault)
    -> StructuredItem
  {
    var reader = try StructuredReader(text, limits)
    let item = try reader.item()
    try reader.end()
    return item
  }

  /// A list.
  public static func list(_ text: [UInt8], limits: StructuredLimits = StructuredLimits()) throws(StructuredFieldFault)
    -> [StructuredMember]
  {
    var reader = try StructuredReader(text, limits)
    let list = try reader.list()
    try reader.end()
    return list
  }

  /// A dictionary.
  public static func dictionary(
    _ text: [UInt8], limits: StructuredLimits = StructuredLimits()
  ) throws(StructuredFieldFault) -> StructuredDictionary { try readDictionary(text, limits).value }

  /// A dictionary in which no key comes twice, be it of a member or of a parameter.
  public static func unambiguousDictionary(
    _ text: [UInt8], limits: StructuredLimits = StructuredLimits()
  ) throws(StructuredFieldFault) -> StructuredDictionary {
    let (value, repeatsKeys) = try readDictionary(text, limits)
    if repeatsKeys { throw StructuredFieldFault(offset: text.count) }
    return value
  }

  private static func readDictionary(
    _ text: [UInt8], _ limits: StructuredLimits
  ) throws(StructuredFieldFault) -> (value: StructuredDictionary, repeatsKeys: Bool) {
    var reader = try StructuredReader(text, limits)
    let value = try reader.dictionary()
    try reader.end()
    return (value, reader.repeatsKeys)
  }
}
