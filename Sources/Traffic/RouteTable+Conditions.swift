import Core

extension RouteTable {
  /// Whether one line of the field has exactly the value.
  func hasField<Request: RoutableRequest>(_ request: Request, _ arena: RawSpan, _ condition: Condition) -> Bool {
    let name = arena.extracting(Int(condition.nameStart)..<Int(condition.nameStart &+ condition.nameCount))
    var line = request.fieldIndex(named: name, after: -1)
    while line >= 0 {
      let value = request.fieldBytes(line)
      if value.byteCount == Int(condition.valueCount),
        equalBytes(value, 0, arena, Int(condition.valueStart), value.byteCount)
      {
        return true
      }
      line = request.fieldIndex(named: name, after: line)
    }
    return false
  }

  /// Whether a media range in `Accept` has the parameter with that value (RFC 9110 section 12.5.1), quoted or not.
  func hasMediaTypeParameter<Request: RoutableRequest>(_ request: Request, _ arena: RawSpan, _ condition: Condition)
    -> Bool
  {
    let accept: [UInt8] = Self.acceptName
    var line = request.fieldIndex(named: RawSpan(accept), after: -1)
    while line >= 0 {
      if hasParameter(request.fieldBytes(line), arena, condition) { return true }
      line = request.fieldIndex(named: RawSpan(accept), after: line)
    }
    return false
  }

  private static let acceptName = Array("accept".utf8)

  private func hasParameter(_ value: RawSpan, _ arena: RawSpan, _ condition: Condition) -> Bool {
    var start = 0
    var isParameter = false
    while start <= value.byteCount {
      // One piece between separators outside of quotes.
      var end = start
      var isQuoted = false
      while end < value.byteCount {
        let letter = byte(value, end)
        if letter == UInt8(ascii: "\"") { isQuoted.toggle() }
        if isQuoted, letter == UInt8(ascii: "\\") { end &+= 1 }
        if !isQuoted, letter == UInt8(ascii: ";") || letter == UInt8(ascii: ",") { break }
        end &+= 1
      }
      end = min(end, value.byteCount)
      if isParameter, isParameterEqual(value, start, end, arena, condition) { return true }
      isParameter = end < value.byteCount && byte(value, end) == UInt8(ascii: ";")
      start = end &+ 1
    }
    return false
  }

  private func isParameterEqual(
    _ value: RawSpan, _ start: Int, _ end: Int, _ arena: RawSpan, _ condition: Condition
  ) -> Bool {
    var first = start
    var last = end
    while first < last, isBlank(byte(value, first)) { first &+= 1 }
    while last > first, isBlank(byte(value, last &- 1)) { last &-= 1 }
    let nameCount = Int(condition.nameCount)
    guard last &- first > nameCount, byte(value, first &+ nameCount) == UInt8(ascii: "=") else { return false }
    for index in 0..<nameCount {
      let letter = UInt8(truncatingIfNeeded: lowercased(UInt64(byte(value, first &+ index))))
      if letter != byte(arena, Int(condition.nameStart) &+ index) { return false }
    }
    first &+= nameCount &+ 1
    if last &- first >= 2, byte(value, first) == UInt8(ascii: "\""), byte(value, last &- 1) == UInt8(ascii: "\"") {
      first &+= 1
      last &-= 1
    }
    return last &- first == Int(condition.valueCount)
      && equalBytes(value, first, arena, Int(condition.valueStart), last &- first)
  }

  /// Whether one parameter of the query has the name and the value, both decoded.
  func hasQueryParameter(_ query: RawSpan, _ arena: RawSpan, _ condition: Condition) -> Bool {
    var start = 0
    while start < query.byteCount {
      let pair = QueryPair(query, from: start)
      if equalDecoded(
        query, start, pair.nameEnd, arena, Int(condition.nameStart), Int(condition.nameCount), plusIsSpace: true),
        equalDecoded(
          query, pair.valueStart, pair.end, arena, Int(condition.valueStart), Int(condition.valueCount),
          plusIsSpace: true)
      {
        return true
      }
      start = pair.end &+ 1
    }
    return false
  }
}

/// One parameter of a query: the name from where it was asked to start, the value, and the end of both.
struct QueryPair {
  var nameEnd: Int
  var valueStart: Int
  var end: Int

  init(_ query: RawSpan, from start: Int) {
    nameEnd = -1
    end = start
    while end < query.byteCount, byte(query, end) != UInt8(ascii: "&") {
      if nameEnd < 0, byte(query, end) == UInt8(ascii: "=") { nameEnd = end }
      end &+= 1
    }
    valueStart = nameEnd < 0 ? end : nameEnd &+ 1
    if nameEnd < 0 { nameEnd = end }
  }
}

@inline(__always)
private func isBlank(_ letter: UInt8) -> Bool { letter == UInt8(ascii: " ") || letter == UInt8(ascii: "\t") }
