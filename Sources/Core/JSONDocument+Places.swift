// Values by their number alone. A `JSONValue` keeps its document, which costs a reference for each one that is looked at;
// who looks at claims with every request uses these.

extension JSONDocument {
  /// One value of a document, which does not keep it. Means nothing in another document.
  public struct Place: Equatable, Sendable, BitwiseCopyable {
    let index: Int
  }

  /// The place of the outermost value.
  public var rootPlace: Place { Place(index: 0) }

  /// The value at a place, which keeps the document.
  public func value(at place: Place) -> JSONValue { JSONValue(document: self, index: place.index) }

  /// What the value is.
  public func kind(at place: Place) -> JSONValue.Kind { nodes[place.index].kind }

  /// Elements of an array or members of an object; 0 for anything else.
  public func count(at place: Place) -> Int { Int(nodes[place.index].count) }

  /// The first element of an array that has one.
  public func firstElement(of place: Place) -> Place {
    precondition(nodes[place.index].kind == .array && nodes[place.index].count > 0)
    return Place(index: place.index &+ 1)
  }

  /// The element behind another one of the same array, which must not be the last.
  public func element(after place: Place) -> Place { Place(index: Int(nodes[place.index].next)) }

  /// The value of the member `key` (the first, if the text has several); nil where there is none. Linear in the members.
  /// Allocates nothing but for names that are written with escapes.
  public func member(_ key: RawSpan, of place: Place) -> Place? {
    let object = nodes[place.index]
    guard object.kind == .object else { return nil }
    let count = key.byteCount
    let first = count > 0 ? key[byte: 0] : UInt8(ascii: "\"")
    // Both arrays live as long as the document. The parser has made sure that nodes lead to nodes and to bytes of the text, of
    // which one more, the closing quotation mark, stands behind every name.
    return unsafe nodes.withUnsafeBufferPointer { nodes in
      unsafe text.withUnsafeBufferPointer { text in
        var at = place.index &+ 1
        for _ in 0..<Int(object.count) {
          let name = unsafe nodes[at]
          let value = Int(name.next)
          if name.isEscaped {
            if withString(at: Place(index: at), { $0.isSame(as: key) }) == true { return Place(index: value) }
          } else if Int(name.end &- name.start) == count, unsafe text[Int(name.start)] == first {
            let found = unsafe RawSpan(_unsafeElements: text).extracting(Int(name.start)..<Int(name.end))
            if found.isSame(as: key) { return Place(index: value) }
          }
          at = unsafe Int(nodes[value].next)
        }
        return nil
      }
    }
  }

  /// Lends a string's contents; nil where the value is none. Allocates nothing unless it is written with escapes.
  @inline(__always)
  public func withString<Result>(at place: Place, _ body: (RawSpan) -> Result) -> Result? {
    let node = nodes[place.index]
    guard node.kind == .string else { return nil }
    let range = Int(node.start)..<Int(node.end)
    if node.isEscaped {
      let decoded = Array(JSONText.unescape(text, range).utf8)
      return body(RawSpan(decoded))
    }
    let bytes = text
    return body(RawSpan(bytes).extracting(range))
  }

  /// See ``JSONValue/bool``.
  public func bool(at place: Place) -> Bool? {
    let node = nodes[place.index]
    return node.kind == .bool ? text[Int(node.start)] == UInt8(ascii: "t") : nil
  }

  /// See ``JSONValue/integer``.
  public func integer(at place: Place) -> Int64? {
    let node = nodes[place.index]
    guard node.kind == .number else { return nil }
    return JSONText.integer(text, Int(node.start)..<Int(node.end))
  }
}

extension RawSpan {
  /// Whether both hold the same bytes, compared eight at a time. Not for secrets: it ends at the first difference.
  @inlinable
  @inline(__always)
  public func isSame(as other: RawSpan) -> Bool {
    let count = byteCount
    guard count == other.byteCount else { return false }
    // RawSpan checks the offsets.
    if count >= 8 {
      // What is left behind the last eight is compared with some of these once more.
      var offset = 0
      while offset &+ 8 < count {
        if word(at: offset) != other.word(at: offset) { return false }
        offset &+= 8
      }
      return word(at: count &- 8) == other.word(at: count &- 8)
    }
    if count >= 4 {
      return unsafe unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
        == other.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
        && unsafeLoadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
          == other.unsafeLoadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
    }
    for offset in 0..<count where self[byte: offset] != other[byte: offset] { return false }
    return true
  }

  @inlinable
  @inline(__always)
  func word(at offset: Int) -> UInt64 {
    unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }
}
