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

  /// Marks what stays on this connection as dropped, and reads the options of Connection.
  func readConnection(_ bytes: RawSpan) throws(HTTPFault) -> ConnectionOptions {
    var present = presence & Self.hopByHop
    while present != 0 {
      dropAll(FieldName(rawValue: UInt8(present.trailingZeroBitCount))!)
      present &= present &- 1
    }
    var options = ConnectionOptions()
    var index = firstIndex(of: .connection)
    while let found = index {
      try readOptions(bytes.part(self[found].valueRange.offsets), in: bytes, &options)
      index = nextIndex(of: .connection, after: found)
    }
    return options
  }

  private func readOptions(
    _ value: RawSpan, in bytes: RawSpan, _ options: inout ConnectionOptions
  ) throws(HTTPFault) {
    if value.equalsIgnoringCase("keep-alive") {
      options.keepAlive = true
      return
    }
    var list = ListReader(value)
    while let member = list.next() {
      let token = value.part(member)
      guard ByteClass.isToken(token) else { throw .malformedConnection }
      switch FieldName.of(token) {
      case .upgrade: options.upgrade = true
      case .keepAlive: options.keepAlive = true
      case .other:
        if token.equalsIgnoringCase("close") { options.close = true } else { dropAll(named: token, in: bytes) }
      case let name:
        if Self.essential & Self.bit(name) != 0 { throw .connectionNamesEssential }
        dropAll(name)
      }
    }
  }

  private func dropAll(named token: RawSpan, in bytes: RawSpan) {
    for index in 0..<fieldCount where self[index].name == .other {
      let name = bytes.part(self[index].nameRange.offsets)
      if name.matches(token) { drop(index) }
    }
  }

  /// How the body ends as far as the fields say: nil where they say nothing.
  func readFraming(_ bytes: RawSpan, isHTTP10: Bool) throws(HTTPFault) -> BodyFraming? {
    if let index = firstIndex(of: .transferEncoding) {
      if isPresent(.contentLength) { throw .lengthWithTransferEncoding }
      if isHTTP10 { throw .transferEncodingInHTTP10 }
      if isRepeated(.transferEncoding) { throw .repeatedTransferEncoding }
      guard bytes.part(self[index].valueRange.offsets).equalsIgnoringCase("chunked") else {
        throw .unsupportedTransferCoding
      }
      return .chunked
    }
    guard let index = firstIndex(of: .contentLength) else { return nil }
    if isRepeated(.contentLength) { throw .repeatedContentLength }
    guard let length = Decimal.read(bytes.part(self[index].valueRange.offsets)) else { throw .malformedContentLength }
    return .length(length)
  }
}

/// Unsigned decimal numbers as HTTP has them.
enum Decimal {
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
