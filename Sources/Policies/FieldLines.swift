import Core
import HTTP
import Pipeline

/// The fields of a request as the upstream would get them by now: the client's own that nobody has dropped, and the lines that
/// policies have written.
enum FieldLines {
  /// The values of a field, in order.
  static func values(
    of field: FieldSelector, _ exchange: borrowing Exchange, _ request: RequestHead
  ) -> [[UInt8]] {
    var values: [[UInt8]] = []
    var next = field.firstIndex(in: request)
    while let index = next {
      next = field.nextIndex(in: request, after: index)
      if !request.field(index).isDropped { values.append(request.value(of: index).array) }
    }
    if let written = exchange.requestFieldsIfAny {
      forEachLine(in: written.array) { line in
        if let value = value(of: field, in: line) { values.append(Array(value)) }
      }
    }
    return values
  }

  /// Hands out the lines with their ends.
  private static func forEachLine(in bytes: [UInt8], _ body: (ArraySlice<UInt8>) -> Void) {
    var rest = bytes[...]
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      body(rest[...end])
      rest = rest[(end + 1)...]
    }
  }

  /// The value in a line `Name: value\r\n` of this field; nil for another's.
  private static func value(of field: FieldSelector, in line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard let colon = line.firstIndex(of: UInt8(ascii: ":")),
      line[..<colon].lazy.map({ $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }).elementsEqual(field.lowercased)
    else { return nil }
    let value = line[(colon + 1)...].drop { $0 == UInt8(ascii: " ") }
    return value.prefix { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n") }
  }
}
