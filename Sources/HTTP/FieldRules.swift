import Core

// Rules for fields that decide about the connection and the body: the same for requests and responses.

/// What the Connection field asks for.
struct ConnectionOptions: BitwiseCopyable {
  var close = false
  var keepAlive = false
  var upgrade = false
}

extension HeadTable {
  /// Fields that concern one connection only (RFC 9110 section 7.6.1), whether or not Connection names them.
  private static let hopByHop: UInt64 =
    bit(.connection) | bit(.keepAlive) | bit(.proxyConnection) | bit(.te) | bit(.transferEncoding) | bit(.upgrade)
    | bit(.proxyAuthorization) | bit(.proxyAuthenticate) | bit(.http2Settings)

  /// Fields that Connection must not name: removing them would change where a message goes, where it ends, or on whose
  /// behalf it is sent, which is what abuse of Connection is for. RFC 9110 section 7.6.1 forbids to send such an option.
  private static let essential: UInt64 =
    bit(.host) | bit(.contentLength) | bit(.contentType) | bit(.contentEncoding) | bit(.contentRange)
    | bit(.authorization) | bit(.cookie) | bit(.setCookie) | bit(.cacheControl) | bit(.forwarded)
    | bit(.xForwardedFor) | bit(.xForwardedHost) | bit(.xForwardedProto) | bit(.xForwardedPort) | bit(.xRealIp)

  /// Options of Connection taken; each is compared with every field, so that more would make a head dear to read.
  private static let optionLimit = 32

  private static let chunked: UInt64 = 0x64_656b_6e75_6863
  private static let close: UInt64 = 0x65_736f_6c63
  private static let keepAliveHead: UInt64 = 0x696c_612d_7065_656b
  private static let keepAliveTail: UInt64 = 0x6576_696c_612d_7065

  /// Marks what stays on this connection as dropped, and reads the options of Connection; 0 or a refusal.
  @inline(__always)
  func readConnection(_ window: borrowing HeadWindow, _ options: inout ConnectionOptions) -> Int {
    let present = presence & Self.hopByHop
    if present == 0 { return 0 }
    // Nearly every head that has any of them has just `Connection: keep-alive` or `close`.
    if present == Self.bit(.connection), !isRepeated(.connection) {
      dropLast(of: .connection)
      let value = last(of: .connection).valueRange
      let start = Int(value.start)
      if value.count == 10, window.folded(start, count: 8) == Self.keepAliveHead,
        window.folded(start &+ 2, count: 8) == Self.keepAliveTail
      {
        options.keepAlive = true
        return 0
      }
      if value.count == 5, window.folded(start, count: 5) == Self.close {
        options.close = true
        return 0
      }
    }
    return readAllOptions(window, present, &options)
  }

  @inline(never)
  private func readAllOptions(
    _ window: borrowing HeadWindow, _ present: UInt64, _ options: inout ConnectionOptions
  ) -> Int {
    dropAll(FieldNameSet(rawValue: present))
    var index = firstIndex(of: .connection)
    var optionCount = 0
    while let found = index {
      let value = window.span(self[found].valueRange)
      var list = ListReader(value)
      while let member = list.next() {
        optionCount += 1
        if optionCount > Self.optionLimit { return LineEnd.refusal(.malformedConnection) }
        if let fault = readOption(value.extracting(member), window, &options) { return LineEnd.refusal(fault) }
      }
      index = nextIndex(of: .connection, after: found)
    }
    return 0
  }

  private func readOption(
    _ token: RawSpan, _ window: borrowing HeadWindow, _ options: inout ConnectionOptions
  ) -> HTTPFault? {
    guard ByteClass.isToken(token) else { return .malformedConnection }
    switch FieldName.of(token) {
    case .upgrade: options.upgrade = true
    case .keepAlive: options.keepAlive = true
    case .other:
      if token.equalsIgnoringCase("close") { options.close = true }
      for index in 0..<fieldCount where self[index].name == .other {
        if window.span(self[index].nameRange).matches(token) { drop(index) }
      }
    case let name:
      if Self.essential & Self.bit(name) != 0 { return .connectionNamesEssential }
      dropAll(FieldNameSet(name))
    }
    return nil
  }

  /// How the body ends as far as the fields say; leaves `framing` alone where they say nothing. 0 or a refusal.
  @inline(__always)
  func readFraming(_ window: borrowing HeadWindow, isHTTP10: Bool, _ framing: inout BodyFraming) -> Int {
    let present = presence & (Self.bit(.transferEncoding) | Self.bit(.contentLength))
    if present == 0 { return 0 }
    if present == Self.bit(.contentLength), !isRepeated(.contentLength) {
      guard let length = Decimal.read(window, last(of: .contentLength).valueRange) else {
        return LineEnd.refusal(.malformedContentLength)
      }
      framing = .length(length)
      return 0
    }
    return readOtherFraming(window, isHTTP10: isHTTP10, &framing)
  }

  @inline(never)
  private func readOtherFraming(
    _ window: borrowing HeadWindow, isHTTP10: Bool, _ framing: inout BodyFraming
  ) -> Int {
    if let index = firstIndex(of: .transferEncoding) {
      if isPresent(.contentLength) { return LineEnd.refusal(.lengthWithTransferEncoding) }
      if isHTTP10 { return LineEnd.refusal(.transferEncodingInHTTP10) }
      if isRepeated(.transferEncoding) { return LineEnd.refusal(.repeatedTransferEncoding) }
      let value = self[index].valueRange
      if value.count != 7 || window.folded(Int(value.start), count: 7) != Self.chunked {
        return LineEnd.refusal(.unsupportedTransferCoding)
      }
      framing = .chunked
      return 0
    }
    return LineEnd.refusal(.repeatedContentLength)
  }
}

/// Unsigned decimal numbers as HTTP has them.
enum Decimal {
  /// The number that the bytes of `range` spell, as ``read(_:)`` has it.
  @inline(__always)
  static func read(_ window: borrowing HeadWindow, _ range: ByteRange) -> Int64? {
    let count = Int(range.count)
    guard count > 0, count <= 8 else { return read(window.span(range)) }
    // Eight digits at once, zeros in front: each byte of the sum has its top bit set if it was no digit, and none
    // carries into the next without its own.
    let unused = UInt64(truncatingIfNeeded: 64 &- 8 &* count)
    let digits = (window.word(Int(range.start)) ^ 0x3030_3030_3030_3030) &<< unused
    if (digits &+ 0x7676_7676_7676_7676 | digits) & 0x8080_8080_8080_8080 != 0 { return nil }
    // Neighbours become numbers below 100; then the first and the third of those, and the second and the fourth, are
    // multiplied and added.
    let pairs = digits &* 10 &+ digits >> 8
    let odd = (pairs & 0xff_0000_00ff) &* (100 + 1_000_000 << 32)
    let even = (pairs >> 16 & 0xff_0000_00ff) &* (1 + 10_000 << 32)
    return Int64(truncatingIfNeeded: (odd &+ even) >> 32)
  }

  /// The number that `text` spells with at most 19 digits and nothing else; nil for anything else or beyond 63 bits.
  static func read(_ text: RawSpan) -> Int64? {
    guard text.byteCount > 0, text.byteCount <= 19 else { return nil }
    var value: UInt64 = 0
    for index in 0..<text.byteCount {
      let digit = text[byte: index] &- 48
      if digit > 9 { return nil }
      value = value &* 10 &+ UInt64(digit)
    }
    return Int64(exactly: value)
  }
}

extension RawSpan {
  /// Whether both spell the same, letters of either case being equal.
  func matches(_ other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    for index in 0..<byteCount {
      let left = self[byte: index]
      let right = other[byte: index]
      if left == right { continue }
      let folded = left | 0x20
      if folded != right | 0x20 || folded < 97 || folded > 122 { return false }
    }
    return true
  }
}
