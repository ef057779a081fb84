// JSON as the configuration and the admin API read it.
//
// A document is its text and one flat table of nodes that point into it; strings and numbers are decoded when they are
// asked for. So every value knows its place in the file, a file of 10,000 routes is a handful of allocations, and all
// of it goes away at once when the configuration has been compiled.

/// A parsed JSON text: immutable, shareable, and about 20 bytes a value beside the text itself.
public final class JSONDocument: Sendable {
  let text: [UInt8]
  let nodes: ContiguousArray<JSONNode>

  init(text: [UInt8], nodes: ContiguousArray<JSONNode>) {
    self.text = text
    self.nodes = nodes
  }

  /// Whether a node is a string with these contents.
  @inline(__always)
  func isString(_ node: JSONNode, _ contents: String) -> Bool {
    guard node.kind == .string else { return false }
    let range = Int(node.start)..<Int(node.end)
    // By bytes: two texts that look alike are not the same name.
    if node.isEscaped { return JSONText.unescape(text, range).utf8.elementsEqual(contents.utf8) }
    let utf8 = contents.utf8
    guard utf8.count == range.count else { return false }
    var at = range.lowerBound
    for byte in utf8 {
      if text[at] != byte { return false }
      at += 1
    }
    return true
  }

  /// The outermost value.
  public var root: JSONValue { JSONValue(document: self, index: 0) }

  /// What parsing a text came to.
  public struct Outcome: Sendable {
    /// The document; present although ``faults`` is not empty where the structure as such is intact (duplicate keys).
    public let document: JSONDocument?
    /// What is wrong, in the order of the text; empty for a correct one.
    public let faults: [JSONFault]
  }

  /// Parses `text`, which must be strict UTF-8. Linear in its length.
  ///
  /// Goes on behind a mistake where it can, so that one pass reports several.
  public static func parse(_ text: [UInt8], dialect: JSONDialect = .relaxed, limits: JSONLimits = JSONLimits())
    -> Outcome
  {
    var parser = JSONParser(text: text, dialect: dialect, limits: limits)
    return parser.run()
  }
}

/// Which additions to RFC 8259 are accepted.
public enum JSONDialect: Sendable {
  /// RFC 8259, nothing else.
  case strict
  /// Also `//` and `/* */` comments, trailing commas, and unquoted keys that are identifiers.
  case relaxed
}

/// Bounds of what is parsed.
public struct JSONLimits: Sendable {
  /// Longest text in bytes; node offsets have 32 bits.
  public var bytes = 256 << 20
  /// Deepest nesting of arrays and objects; parsing recurses, so it bounds the stack.
  public var depth = 64
  /// Faults after which parsing gives up.
  public var faults = 20

  /// The default bounds.
  public init() {}
}

/// One mistake in a JSON text. Never quotes the contents of a string value, which may be a secret.
public struct JSONFault: Error, Hashable, Sendable {
  /// Where, in bytes from the start of the text.
  public let offset: Int
  /// What is wrong.
  public let message: String
  /// What to do about it.
  public let fix: String
}

struct JSONNode: Sendable, BitwiseCopyable {
  var kind: JSONValue.Kind
  /// Whether a string has escapes and must be decoded.
  var isEscaped = false
  /// First byte of the text of the value; for strings the one behind the quote.
  var start: UInt32
  /// Behind the last byte of the text; for strings the closing quote.
  var end: UInt32 = 0
  /// The node behind this one and all it contains.
  var next: UInt32 = 0
  /// Elements or members.
  var count: UInt32 = 0
}

/// One value of a ``JSONDocument``, which it keeps alive.
public struct JSONValue: Sendable {
  let document: JSONDocument
  let index: Int

  /// What a value is.
  public enum Kind: UInt8, Sendable, BitwiseCopyable { case null, bool, number, string, array, object }

  private var node: JSONNode { document.nodes[index] }

  /// What the value is.
  public var kind: Kind { node.kind }

  /// Where the value begins, in bytes from the start of the text.
  public var offset: Int {
    let node = node
    // An unquoted key has no quote in front of it.
    return node.kind == .string && document.text[max(Int(node.start) - 1, 0)] == UInt8(ascii: "\"")
      ? Int(node.start) - 1 : Int(node.start)
  }

  /// Elements of an array or members of an object; 0 for anything else.
  public var count: Int { Int(node.count) }

  /// The value of `true` and `false`; nil for anything else.
  public var bool: Bool? {
    let node = node
    return node.kind == .bool ? document.text[Int(node.start)] == UInt8(ascii: "t") : nil
  }

  /// A string's contents; nil for anything else. Decodes at each call.
  public var string: String? {
    let node = node
    guard node.kind == .string else { return nil }
    let range = Int(node.start)..<Int(node.end)
    if !node.isEscaped { return String(decoding: document.text[range], as: UTF8.self) }
    return JSONText.unescape(document.text, range)
  }

  /// A number that is whole, fits 64 bits and is written without fraction or exponent; nil for anything else.
  public var integer: Int64? {
    let node = node
    guard node.kind == .number else { return nil }
    return JSONText.integer(document.text, Int(node.start)..<Int(node.end))
  }

  /// A number; nil for anything else and for one beyond the range of a double.
  public var number: Double? {
    let node = node
    guard node.kind == .number else { return nil }
    let range = Int(node.start)..<Int(node.end)
    // Moments are nearly always whole, and a double has each of so few digits exactly.
    if range.count < 16, let whole = JSONText.integer(document.text, range), whole != 0 { return Double(whole) }
    let text = String(decoding: document.text[range], as: UTF8.self)
    return Double(text).flatMap { $0.isFinite ? $0 : nil }
  }

  /// The elements of an array, in order; empty for anything else.
  public var elements: [JSONValue] {
    guard kind == .array else { return [] }
    var result: [JSONValue] = []
    result.reserveCapacity(count)
    var at = index + 1
    for _ in 0..<count {
      result.append(JSONValue(document: document, index: at))
      at = Int(document.nodes[at].next)
    }
    return result
  }

  /// One name and value of an object.
  public struct Member: Sendable {
    /// The name, a string.
    public let key: JSONValue
    /// The value.
    public let value: JSONValue
  }

  /// The members of an object, in the order of the text; empty for anything else.
  public var members: [Member] {
    guard kind == .object else { return [] }
    var result: [Member] = []
    result.reserveCapacity(count)
    var at = index + 1
    for _ in 0..<count {
      let value = Int(document.nodes[at].next)
      result.append(
        Member(key: JSONValue(document: document, index: at), value: JSONValue(document: document, index: value)))
      at = Int(document.nodes[value].next)
    }
    return result
  }

  /// The value of the member `key` (the first, if the text has several); nil where there is none. Linear.
  public subscript(key: String) -> JSONValue? {
    let node = node
    guard node.kind == .object else { return nil }
    var at = index + 1
    for _ in 0..<node.count {
      let name = document.nodes[at]
      if document.isString(name, key) { return JSONValue(document: document, index: Int(name.next)) }
      at = Int(document.nodes[Int(name.next)].next)
    }
    return nil
  }

  /// Whether this is a string with these contents; allocates nothing for a string without escapes.
  public func equals(_ text: String) -> Bool { document.isString(node, text) }

  /// Where the value stands in the text, in bytes from its start; a string's with its quotes, where it has any.
  public var sourceRange: Range<Int> {
    let (node, start) = (node, offset)
    let quoted = node.kind == .string && start < Int(node.start) ? 1 : 0
    return start..<min(Int(node.end) + quoted, document.text.count)
  }

  /// The text of the value as it stands in the file, comments included.
  public var sourceText: String { String(decoding: document.text[sourceRange], as: UTF8.self) }
}
