import Core

/// What a field is to whoever translates messages: found once for each name, and kept with the entries of a dynamic table.
public enum HPACKFieldKind: UInt8, BitwiseCopyable, Sendable {
  /// Passed on as it is.
  case plain
  /// The pseudo-header fields of RFC 9113 section 8.3 and RFC 8441, and any other name that begins with a colon.
  case method, scheme, path, authority, status, protocolName, unknownPseudo
  case cookie, contentLength, host, te, priority
  /// `sec-websocket-key` and `sec-websocket-accept`, which mean something in HTTP/1.1 only.
  case webSocketHandshake
  /// A field that HTTP/2 does without (RFC 9113 section 8.2.2): a message with one is malformed.
  case connectionSpecific
  /// Not a token in lower case: a message with one is malformed.
  case malformedName

  /// Whether it is one of the pseudo-header fields, known or not.
  public var isPseudo: Bool { rawValue >= Self.method.rawValue && rawValue <= Self.unknownPseudo.rawValue }

  /// The kind of a field by its known name.
  static func of(_ name: FieldName) -> HPACKFieldKind {
    switch name {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: .connectionSpecific
    case .cookie: .cookie
    case .contentLength: .contentLength
    case .host: .host
    case .te: .te
    case .secWebSocketKey, .secWebSocketAccept: .webSocketHandshake
    default: .plain
    }
  }

  /// The kind of the field called `name`; constant cost but for the check that it is a token.
  static func of(_ name: RawSpan) -> HPACKFieldKind {
    let count = name.byteCount
    if count == 0 { return .malformedName }
    if name[byte: 0] == UInt8(ascii: ":") { return ofPseudo(name) }
    for index in 0..<count where !isLowerToken(name[byte: index]) { return .malformedName }
    if name.spells("priority") { return .priority }
    return of(FieldName.of(name))
  }

  @inline(__always)
  private static func isLowerToken(_ byte: UInt8) -> Bool {
    if byte >= 97 && byte <= 122 || byte == 45 || byte >= 48 && byte <= 57 { return true }
    return ByteClass.of(byte).contains(.token) && !(byte >= 65 && byte <= 90)
  }

  private static func ofPseudo(_ name: RawSpan) -> HPACKFieldKind {
    switch name.byteCount {
    case 5 where name.spells(":path"): .path
    case 7 where name.spells(":method"): .method
    case 7 where name.spells(":scheme"): .scheme
    case 7 where name.spells(":status"): .status
    case 9 where name.spells(":protocol"): .protocolName
    case 10 where name.spells(":authority"): .authority
    default: .unknownPseudo
    }
  }
}

/// What is known of one field line.
public struct HPACKField: BitwiseCopyable, Sendable {
  /// What the field is.
  public var kind: HPACKFieldKind
  /// Whether the value holds no control byte but tabs and has no blank at either end (RFC 9113 section 8.2.1).
  public var isValueSound: Bool
  /// The entry of the static table that it is, or 0.
  var staticIndex: UInt8 = 0
  var nameBytes: UInt32
  var valueBytes: UInt32

  /// Bytes of the name.
  public var nameCount: Int { Int(nameBytes) }
  /// Bytes of the value.
  public var valueCount: Int { Int(valueBytes) }
  /// Bytes of `name: value` and a CRLF.
  @inline(__always)
  var lineCount: Int { nameCount &+ valueCount &+ Self.extra }
  /// Where the value begins in that line.
  @inline(__always)
  var valueStart: Int { nameCount &+ 2 }
  /// What stands around name and value.
  static let extra = 4

  /// Bytes that RFC 7541 section 4.1 and RFC 9113 section 6.5.2 count for it.
  @inline(__always)
  var accountedBytes: Int { nameCount &+ valueCount &+ 32 }

  /// Whether a value may stand in a field line, as ``isValueSound`` has it. Behind the value, ``ByteBuffer/slack`` bytes
  /// must be readable.
  @unsafe
  static func isSound(_ value: RawSpan) -> Bool {
    let count = value.byteCount
    if count == 0 { return true }
    let first = value[byte: 0]
    let last = value[byte: count - 1]
    if first == 32 || first == 9 || last == 32 || last == 9 { return false }
    return unsafe value.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return true }
      let start = unsafe base.assumingMemoryBound(to: UInt8.self)
      return unsafe HPACKScan.holdsNoControl(start, count: count)
    }
  }
}
