import Core

/// Questions about field values that are lists or carry parameters (RFC 9110 sections 5.6.1 and 5.6.6).
public enum FieldValue {
  /// Whether a comma-separated list has `token` as a member, in any case; `token` is lower-case.
  public static func contains(_ token: StaticString, in value: RawSpan) -> Bool {
    var list = ListReader(value)
    while let member = list.next() {
      if value.extracting(member).equalsIgnoringCase(token) { return true }
    }
    return false
  }

  /// Where the value of the first parameter called `name` stands in `value`, quotes not counted: `2` in
  /// `application/json; version=2`. Looks at every member of a list; `name` is lower-case. Nil where there is none, or
  /// where its quoted value has escapes.
  public static func parameter(_ name: StaticString, in value: RawSpan) -> Range<Int>? {
    var members = ListReader(value)
    while let member = members.next() {
      var parts = ListReader(value.extracting(member), separator: 59)
      _ = parts.next()
      while let part = parts.next() {
        let start = member.lowerBound + part.lowerBound
        let pair = value.extracting(start..<start + part.count)
        var equals = 0
        while equals < pair.byteCount, pair[byte: equals] != 61 { equals += 1 }
        guard equals < pair.byteCount, pair.extracting(0..<equals).equalsIgnoringCase(name) else { continue }
        let text = pair.extracting(equals + 1..<pair.byteCount)
        let first = start + equals + 1
        if ByteClass.isToken(text) { return first..<first + text.byteCount }
        guard text.byteCount >= 2, text[byte: 0] == 34, text[byte: text.byteCount - 1] == 34, !text.holds(92)
        else { return nil }
        return first + 1..<first + text.byteCount - 1
      }
    }
    return nil
  }
}
