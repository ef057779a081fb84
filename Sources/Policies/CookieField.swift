import Core
import HTTP
import Pipeline

/// The field `Cookie` (RFC 6265 section 4.2.1), which policies with cookies of their own share with the upstream.
enum CookieField {
  private static let start = Array("Cookie: ".utf8)
  private static let lineEnd = Array("\r\n".utf8)

  /// Whether a byte is one that readers of cookies skip around names and values, in a field's value.
  static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

  /// Where the value begins of a pair that is called `name`; nil for another. Blanks before the equals sign are skipped, as
  /// those do who read the field behind us.
  static func valueStart(of name: [UInt8], in pair: RawSpan) -> Int? {
    guard pair.byteCount > name.count else { return nil }
    for offset in name.indices where pair[byte: offset] != name[offset] { return nil }
    var at = name.count
    while at < pair.byteCount, isBlank(pair[byte: at]) { at += 1 }
    return at < pair.byteCount && pair[byte: at] == UInt8(ascii: "=") ? at + 1 : nil
  }

  /// Hands out where the pairs of a value are, without the blanks around them; empty ones are left out.
  static func forEachPair(_ value: RawSpan, _ body: (Range<Int>) -> Void) {
    var start = 0
    while start < value.byteCount {
      var end = start
      while end < value.byteCount, value[byte: end] != UInt8(ascii: ";") { end += 1 }
      var (first, last) = (start, end)
      while first < last, isBlank(value[byte: first]) { first += 1 }
      while last > first, isBlank(value[byte: last - 1]) { last -= 1 }
      if first < last { body(first..<last) }
      start = end + 1
    }
  }

  /// Takes cookies out of what is sent on: out of what the client has sent, and out of what other policies have left of that.
  static func strip(_ request: RequestHead, _ exchange: inout Exchange, _ isOurs: (RawSpan) -> Bool) {
    if let fields = exchange.requestFieldsIfAny { stripAgain(fields, isOurs) }
    var next = request.firstIndex(of: .cookie)
    while let index = next {
      next = request.nextIndex(of: .cookie, after: index)
      guard !request.field(index).isDropped, let others = others(request.value(of: index), isOurs) else { continue }
      request.drop(index)
      exchange.requestFields.append(others)
    }
  }

  /// The same for the lines that policies have written.
  private static func stripAgain(_ fields: ByteBuffer, _ isOurs: (RawSpan) -> Bool) {
    let text = fields.bytes.array
    var result: [UInt8] = []
    var isChanged = false
    var first = 0
    while first < text.count {
      // Each line ends with CR LF, and holds neither.
      let end = (text[first...].firstIndex(of: 10) ?? text.count - 1) + 1
      let line = text[first..<end]
      if line.starts(with: start), let others = others(RawSpan(Array(line.dropFirst(start.count).dropLast(2))), isOurs)
      {
        result += others
        isChanged = true
      } else {
        result += line
      }
      first = end
    }
    guard isChanged else { return }
    fields.truncate(to: 0)
    fields.append(result)
  }

  /// The line with the cookies that are not ours, empty where there are none; nil where all are others'.
  private static func others(_ value: RawSpan, _ isOurs: (RawSpan) -> Bool) -> [UInt8]? {
    var line: [UInt8] = []
    var hasOurs = false
    forEachPair(value) { range in
      let pair = value.extracting(range)
      if isOurs(pair) {
        hasOurs = true
      } else {
        line += (line.isEmpty ? start : Array("; ".utf8)) + pair.array
      }
    }
    guard hasOurs else { return nil }
    return line.isEmpty ? [] : line + lineEnd
  }
}
