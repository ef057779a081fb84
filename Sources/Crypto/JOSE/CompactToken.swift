import Core
import Glibc

// A token is split, decoded and read before anybody has said that it is true, so everything here has bounds and refuses
// what another reader could read in another way: text that is not canonical, members that are there twice.
//
// What a header says of where its key lies (`jwk`, `jku`, `x5u`, `x5c`) is never used, nor looked at: whoever writes a
// token would choose the key that it is verified with. Such members may be there, as any other that is not known.

/// A signed token in compact form (RFC 7515 section 7.1), which points into its text. Nothing of it is verified.
public struct CompactToken: ~Escapable {
  /// How it says it is signed.
  public let algorithm: SignatureAlgorithm
  /// The first two parts with the dot between them, which is what is signed.
  public let signedText: RawSpan
  /// The third part, at least one byte.
  public let signature: [UInt8]
  /// The second part: bytes that whoever has signed may choose. Empty where nothing is said.
  public let payload: [UInt8]
  /// The first part, an object without duplicate members.
  public let header: JSONDocument

  private let keyName: HeaderText
  private let typeName: HeaderText

  /// Bytes of a token that are read at most: as much as fits the head of a request.
  public static let longest = 16 << 10
  /// Levels of a header or of claims.
  private static let depth = 16

  /// Reads a token: exactly three parts of base64url, the first an object that names an algorithm and nothing critical.
  /// A microsecond or two; with `headers`, which learns them, headers that were read lately are not read again.
  @_lifetime(copy text)
  public init(_ text: RawSpan, headers: TokenHeaders? = nil) throws(CompactTokenFault) {
    guard text.byteCount <= Self.longest else { throw .tooLong }
    let dots = try Self.dots(text)
    let head: ReadHeader
    if let known = headers?.find(text.extracting(0..<dots.first)) {
      head = known
    } else {
      head = try ReadHeader(text.extracting(0..<dots.first))
      headers?.keep(head, text.extracting(0..<dots.first))
    }
    header = head.document
    algorithm = head.names.algorithm
    keyName = head.names.keyID
    typeName = head.names.type
    guard let payload = Base64URL.decode(text.extracting(dots.first + 1..<dots.second)) else {
      throw .encoding(.payload)
    }
    self.payload = payload
    guard let signature = Base64URL.decode(text.extracting(dots.second + 1..<text.byteCount)) else {
      throw .encoding(.signature)
    }
    guard !signature.isEmpty else { throw .unsigned }
    self.signature = signature
    signedText = text.extracting(0..<dots.second)
  }

  /// Where the two dots are.
  private static func dots(_ text: RawSpan) throws(CompactTokenFault) -> (first: Int, second: Int) {
    var dots = InlineArray<4, Int>(repeating: 0)
    var count = 0
    var next = 0
    while let offset = dot(text, from: next) {
      // A fifth dot changes nothing any more.
      guard count < dots.count else { throw .partCount }
      dots[count] = offset
      count += 1
      next = offset + 1
    }
    switch count {
    case 2: return (dots[0], dots[1])
    case 4: throw .encrypted
    default: throw .partCount
    }
  }

  /// Where the first dot is from `start` on; nil where there is none.
  private static func dot(_ text: RawSpan, from start: Int) -> Int? {
    unsafe text.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress, start < bytes.count else { return nil }
      // Looks at no more than the bytes behind `start`.
      return unsafe memchr(base + start, Int32(UInt8(ascii: ".")), bytes.count - start).map {
        unsafe UnsafeRawPointer($0) - base
      }
    }
  }

  static func object(
    _ text: [UInt8], _ part: CompactTokenFault.Part
  ) throws(CompactTokenFault) -> JSONDocument {
    var limits = JSONLimits()
    limits.bytes = longest
    limits.depth = depth
    limits.faults = 1
    let outcome = JSONDocument.parse(text, dialect: .strict, limits: limits)
    guard outcome.faults.isEmpty, let document = outcome.document, document.root.kind == .object else {
      throw .notAnObject(part)
    }
    return document
  }

  /// The `kid` of the header; nil where it has none.
  public var keyID: RawSpan? {
    @_lifetime(borrow self)
    get { keyName.bytes }
  }

  /// Whether the header's `typ` is `name`, in any case and with or without `application/` in front (RFC 7515 section
  /// 4.1.9); false where it has none. `name` is a media type without that prefix, for example `at+jwt`.
  public func isType(_ name: String) -> Bool { typeName.isMediaType(name) }

  /// Whether the header has a `typ`.
  public var hasType: Bool { typeName.isPresent }

  /// The payload as an object without duplicate members (RFC 7519 section 4); a few microseconds.
  public func claims() throws(CompactTokenFault) -> JSONDocument { try Self.object(payload, .payload) }
}

/// Why a text is no token that can be verified.
public enum CompactTokenFault: Error, Hashable, Sendable {
  /// A part of a token.
  public enum Part: String, Sendable { case header, payload, signature }

  /// It is longer than ``CompactToken/longest``.
  case tooLong
  /// It has not three parts.
  case partCount
  /// It has five parts, as those that are encrypted (RFC 7516), which are not read here.
  case encrypted
  /// A part is not base64url in its only form.
  case encoding(Part)
  /// A part is no object of strict JSON, or has a member twice.
  case notAnObject(Part)
  /// The header's `alg` is missing or not a string, or `kid` or `typ` are there and not strings.
  case header
  /// The header names an algorithm that is not offered, for example `none`.
  case unsupportedAlgorithm
  /// The header has `crit` or `b64`, which change what a token means.
  case critical
  /// The signature is empty.
  case unsigned

  /// What is wrong, a phrase; nothing of the token.
  public var message: String {
    switch self {
    case .tooLong: "the token is longer than \(CompactToken.longest) bytes"
    case .partCount: "the token has not three parts"
    case .encrypted: "the token is encrypted"
    case .encoding(let part): "the token's \(part.rawValue) is not base64url"
    case .notAnObject(let part): "the token's \(part.rawValue) is no JSON object without duplicates"
    case .header: "the token's header names no algorithm, or its kid or typ is no string"
    case .unsupportedAlgorithm: "the token's algorithm is not supported"
    case .critical: "the token's header has extensions that are not supported"
    case .unsigned: "the token has no signature"
    }
  }
}

/// A string of a header, or that it is not there: a place in its text, or a text of its own where it is written with
/// escapes.
struct HeaderText {
  private var text: [UInt8] = []
  private var range = 0..<0
  private(set) var isPresent = false

  /// One that is not there.
  init() {}

  /// The contents of `value`, which lies in `text`; nil where it is no string.
  init?(_ value: JSONValue, in text: [UInt8]) {
    guard value.kind == .string else { return nil }
    isPresent = true
    let start = value.offset + 1
    // The parser has found the closing quote; the first one ends the string unless there is a backslash before it.
    let end = text[start...].firstIndex { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
    if let end, text[end] == UInt8(ascii: "\"") {
      self.text = text
      range = start..<end
    } else {
      self.text = Array((value.string ?? "").utf8)
      range = 0..<self.text.count
    }
  }

  var bytes: RawSpan? {
    @_lifetime(borrow self)
    get { isPresent ? RawSpan(text).extracting(range) : nil }
  }

  /// Whether this is `name`, in any case and with or without the prefix that media types of tokens leave out.
  func isMediaType(_ name: String) -> Bool {
    let prefix = "application/".utf8
    func equals(_ range: Range<Int>, _ other: some Collection<UInt8>) -> Bool {
      range.count == other.count && zip(text[range], other).allSatisfy { Self.lower($0) == Self.lower($1) }
    }
    guard isPresent else { return false }
    if equals(range, name.utf8) { return true }
    let end = range.lowerBound + prefix.count
    return end <= range.upperBound && equals(range.lowerBound..<end, prefix)
      && equals(end..<range.upperBound, name.utf8)
  }

  private static func lower(_ byte: UInt8) -> UInt8 { byte >= 65 && byte <= 90 ? byte | 0x20 : byte }
}

/// What is read of a header, in one walk.
struct HeaderNames {
  let algorithm: SignatureAlgorithm
  private(set) var keyID = HeaderText()
  private(set) var type = HeaderText()

  init(_ root: JSONValue, _ text: [UInt8]) throws(CompactTokenFault) {
    var name = HeaderText()
    for member in root.members {
      let key = member.key
      if key.equals("crit") || key.equals("b64") { throw .critical }
      let isAlgorithm = key.equals("alg")
      let isKeyID = key.equals("kid")
      guard isAlgorithm || isKeyID || key.equals("typ") else { continue }
      guard let value = HeaderText(member.value, in: text) else { throw .header }
      if isAlgorithm { name = value } else if isKeyID { keyID = value } else { type = value }
    }
    guard let bytes = name.bytes else { throw .header }
    guard let algorithm = SignatureAlgorithm(bytes) else { throw .unsupportedAlgorithm }
    self.algorithm = algorithm
  }
}
