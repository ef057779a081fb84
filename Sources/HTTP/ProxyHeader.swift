import Core

// The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): a balancer in front of us tells whose
// connection it forwards. A listener that expects it must refuse connections without it; one that does not must never
// look for it, since anyone could send one.

/// The outcome of looking for a PROXY header.
public enum ProxyHeaderResult: Equatable, Sendable {
  /// A header of `byteCount` bytes. No addresses: the balancer speaks for itself (LOCAL, a health check) or does not
  /// know; the addresses of the connection itself count then.
  case complete(byteCount: Int, source: SocketAddress?, destination: SocketAddress?)
  /// It may become a header; come back with more bytes.
  case incomplete
  /// It is none: close without an answer.
  case malformed
}

/// Reads the PROXY header that stands before everything else on a connection.
public enum ProxyHeader {
  /// The longest header taken, in bytes: 16 fixed ones, addresses, and room for TLVs such as a client certificate's name.
  public static let longest = 16 + 4_096
  /// The longest header of version 1 with its CRLF, as the protocol defines it.
  public static let longestVersion1 = 107

  private static let signature: InlineArray<12, UInt8> = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

  /// Looks for a header at the front of `bytes`. Says `malformed` with the first byte that rules it out.
  public static func parse(_ bytes: RawSpan) -> ProxyHeaderResult {
    guard bytes.byteCount > 0 else { return .incomplete }
    if bytes[byte: 0] == 13 { return parseVersion2(bytes) }
    return parseVersion1(bytes)
  }

  /// Appends a header of version 2 that names a connection from `source` to `destination`, both of one family: an IPv4
  /// address among IPv6 ones is written in its mapped form. 28 or 52 bytes.
  public static func append(
    source: (address: IPAddress, port: UInt16), destination: (address: IPAddress, port: UInt16), to buffer: ByteBuffer
  ) {
    for index in signature.indices { buffer.append(signature[index]) }
    let isV4 = source.address.isV4 && destination.address.isV4
    buffer.append(0x21)
    buffer.append(isV4 ? 0x11 : 0x21)
    append(isV4 ? 12 : 36, bytes: 2, to: buffer)
    for address in [source.address, destination.address] {
      if isV4 {
        append(UInt64(address.v4), bytes: 4, to: buffer)
      } else {
        append(address.high, bytes: 8, to: buffer)
        append(address.low, bytes: 8, to: buffer)
      }
    }
    append(UInt64(source.port), bytes: 2, to: buffer)
    append(UInt64(destination.port), bytes: 2, to: buffer)
  }

  private static func append(_ number: UInt64, bytes count: Int, to buffer: ByteBuffer) {
    for place in (0..<count).reversed() { buffer.append(UInt8(truncatingIfNeeded: number >> UInt64(place * 8))) }
  }

  // MARK: - Version 1, a line of text

  private static func parseVersion1(_ bytes: RawSpan) -> ProxyHeaderResult {
    let prefix: InlineArray<6, UInt8> = [80, 82, 79, 88, 89, 32]
    for index in 0..<min(6, bytes.byteCount) where bytes[byte: index] != prefix[index] { return .malformed }
    var end = min(6, bytes.byteCount)
    while end < bytes.byteCount, case let byte = bytes[byte: end], byte >= 32, byte < 127 { end += 1 }
    if end + 2 > longestVersion1 { return .malformed }
    if end == bytes.byteCount { return .incomplete }
    guard bytes[byte: end] == 13 else { return .malformed }
    if end + 1 == bytes.byteCount { return .incomplete }
    guard bytes[byte: end + 1] == 10 else { return .malformed }
    return readVersion1(bytes.extracting(6..<end), byteCount: end + 2)
  }

  private static func readVersion1(_ line: RawSpan, byteCount: Int) -> ProxyHeaderResult {
    var words = WordReader(line)
    let family = words.next()
    if line.extracting(family).spells("UNKNOWN") {
      return .complete(byteCount: byteCount, source: nil, destination: nil)
    }
    let isV4 = line.extracting(family).spells("TCP4")
    guard isV4 || line.extracting(family).spells("TCP6") else { return .malformed }
    let sourceText = words.next()
    let destinationText = words.next()
    let sourcePort = words.next()
    let destinationPort = words.next()
    guard words.isAtEnd,
      let source = IPAddress(parsing: line.extracting(sourceText)),
      let destination = IPAddress(parsing: line.extracting(destinationText)),
      line.extracting(sourceText).holds(58) != isV4, line.extracting(destinationText).holds(58) != isV4,
      let from = port(line.extracting(sourcePort)), let to = port(line.extracting(destinationPort))
    else { return .malformed }
    return .complete(byteCount: byteCount, source: .ip(source, port: from), destination: .ip(destination, port: to))
  }

  private static func port(_ text: RawSpan) -> UInt16? {
    guard text.byteCount <= 5, let value = Decimal.read(text), value < 65_536 else { return nil }
    return text.byteCount > 1 && text[byte: 0] == 48 ? nil : UInt16(value)
  }

  // MARK: - Version 2, binary

  private static func parseVersion2(_ bytes: RawSpan) -> ProxyHeaderResult {
    for index in 0..<min(12, bytes.byteCount) where bytes[byte: index] != signature[index] { return .malformed }
    guard bytes.byteCount >= 16 else { return .incomplete }
    let command = bytes[byte: 12]
    let family = bytes[byte: 13]
    let length = Int(number(bytes, at: 14, count: 2))
    guard command == 0x20 || command == 0x21, 16 + length <= longest else { return .malformed }
    guard bytes.byteCount >= 16 + length else { return .incomplete }
    // LOCAL: whatever the addresses say is to be skipped.
    if command == 0x20 { return .complete(byteCount: 16 + length, source: nil, destination: nil) }
    switch family {
    case 0x00:
      return .complete(byteCount: 16 + length, source: nil, destination: nil)
    case 0x11:
      guard length >= 12, hasSoundExtras(bytes, from: 28, upTo: 16 + length) else { return .malformed }
      let source = IPAddress(v4: UInt32(number(bytes, at: 16, count: 4)))
      let destination = IPAddress(v4: UInt32(number(bytes, at: 20, count: 4)))
      return .complete(
        byteCount: 16 + length, source: .ip(source, port: UInt16(number(bytes, at: 24, count: 2))),
        destination: .ip(destination, port: UInt16(number(bytes, at: 26, count: 2))))
    case 0x21:
      guard length >= 36, hasSoundExtras(bytes, from: 52, upTo: 16 + length) else { return .malformed }
      let source = IPAddress(high: number(bytes, at: 16, count: 8), low: number(bytes, at: 24, count: 8))
      let destination = IPAddress(high: number(bytes, at: 32, count: 8), low: number(bytes, at: 40, count: 8))
      return .complete(
        byteCount: 16 + length, source: .ip(source, port: UInt16(number(bytes, at: 48, count: 2))),
        destination: .ip(destination, port: UInt16(number(bytes, at: 50, count: 2))))
    case 0x31:
      guard length >= 216, hasSoundExtras(bytes, from: 232, upTo: 16 + length) else { return .malformed }
      return .complete(
        byteCount: 16 + length, source: .unix(path: path(bytes, at: 16)), destination: .unix(path: path(bytes, at: 124))
      )
    default:
      // Datagrams and families yet to be invented do not arrive on a stream.
      return .malformed
    }
  }

  /// Whether type-length-value extras fill the rest exactly; what they say is not used.
  private static func hasSoundExtras(_ bytes: RawSpan, from start: Int, upTo end: Int) -> Bool {
    var index = start
    while index < end {
      guard end - index >= 3 else { return false }
      index += 3 + Int(number(bytes, at: index + 1, count: 2))
    }
    return index == end
  }

  private static func number(_ bytes: RawSpan, at offset: Int, count: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in offset..<offset + count { value = value << 8 | UInt64(bytes[byte: index]) }
    return value
  }

  private static func path(_ bytes: RawSpan, at offset: Int) -> String {
    var end = offset
    while end < offset + 108, bytes[byte: end] != 0 { end += 1 }
    return unsafe bytes.extracting(offset..<end).withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}

/// Words of a line that single spaces separate.
private struct WordReader: ~Escapable {
  private let line: RawSpan
  private var position = 0

  @_lifetime(copy line)
  init(_ line: RawSpan) { self.line = line }

  /// Whether the last word has been read.
  var isAtEnd: Bool { position == line.byteCount + 1 }

  /// Where the next word stands; empty where none does.
  @_lifetime(self: copy self)
  mutating func next() -> Range<Int> {
    let start = min(position, line.byteCount)
    var end = start
    while end < line.byteCount, line[byte: end] != 32 { end += 1 }
    position = position > line.byteCount ? line.byteCount + 2 : end + 1
    return start..<end
  }
}
