import Core
import HTTP

/// What an upstream for trials does with a request, by its path.
enum EchoAction: Equatable, BitwiseCopyable, Sendable {
  /// Answers a description of the request, or the fixed body.
  case describe(status: Int, delayMilliseconds: Int64)
  /// So many bytes of letters, with their length announced or in chunks.
  case bytes(Int64, isChunked: Bool)
  /// Sends the request's body back while it comes in.
  case echo
  /// An event every so many milliseconds until the client leaves.
  case events(milliseconds: Int64)
  /// Announces more than it sends, and ends the connection.
  case closeMidBody
  /// The path asks for something that cannot be done.
  case refuse

  /// The longest delay and the longest pause between two events: an hour.
  static let millisecondsLimit: Int64 = 3_600_000
  /// The longest body that is made up: a tebibyte.
  static let bytesLimit: Int64 = 1 << 40

  /// The action for `path`; paths without a meaning of their own describe.
  static func of(_ path: RawSpan, status: Int, delayMilliseconds: Int64) -> EchoAction {
    let described = EchoAction.describe(status: status, delayMilliseconds: delayMilliseconds)
    guard path.byteCount >= 5 else { return described }
    var slash = 1
    while slash < path.byteCount, path.byte(slash) != UInt8(ascii: "/") { slash += 1 }
    let word = path.extracting(1..<slash)
    let rest = slash + 1 < path.byteCount ? path.extracting(slash + 1..<path.byteCount) : path.extracting(0..<0)
    if word.equals("echo") { return .echo }
    if word.equals("close") { return .closeMidBody }
    if word.equals("status") {
      guard let number = rest.decimal, (200...599).contains(number) else { return .refuse }
      return .describe(status: Int(number), delayMilliseconds: delayMilliseconds)
    }
    if word.equals("delay") {
      guard let number = rest.decimal, number <= millisecondsLimit else { return .refuse }
      return .describe(status: status, delayMilliseconds: number)
    }
    if word.equals("events") {
      let pause = rest.isEmpty ? 1000 : rest.decimal ?? 0
      return (1...millisecondsLimit).contains(pause) ? .events(milliseconds: pause) : .refuse
    }
    if word.equals("bytes") || word.equals("chunked") {
      guard let number = rest.decimal, number <= bytesLimit else { return .refuse }
      return .bytes(number, isChunked: word.equals("chunked"))
    }
    return described
  }
}

extension RawSpan {
  /// The byte at `index`, which is checked.
  @inline(__always)
  func byte(_ index: Int) -> UInt8 {
    // Marked unsafe only because the load is generic.
    unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self)
  }

  /// Whether these are exactly the bytes of `text`.
  func equals(_ text: StaticString) -> Bool {
    guard byteCount == text.utf8CodeUnitCount else { return false }
    for index in 0..<byteCount {
      // A literal has as many bytes as it says.
      if unsafe byte(index) != text.utf8Start[index] { return false }
    }
    return true
  }

  /// Whether the last of these are the bytes of `text`.
  func hasSuffix(_ text: StaticString) -> Bool {
    let start = byteCount - text.utf8CodeUnitCount
    return start >= 0 && extracting(start..<byteCount).equals(text)
  }

  /// Whether these are the bytes of `text`, letters in either case; `text` has lower case and digits.
  func equals(lowercase text: StaticString) -> Bool {
    guard byteCount == text.utf8CodeUnitCount else { return false }
    for index in 0..<byteCount {
      // As above.
      if unsafe byte(index) | 0x20 != text.utf8Start[index] { return false }
    }
    return true
  }

  /// The number that these bytes are in decimal, of at most 15 digits; nil for anything else.
  var decimal: Int64? {
    guard (1...15).contains(byteCount) else { return nil }
    var number: Int64 = 0
    for index in 0..<byteCount {
      let digit = byte(index) &- 48
      guard digit <= 9 else { return nil }
      number = number * 10 + Int64(digit)
    }
    return number
  }
}
