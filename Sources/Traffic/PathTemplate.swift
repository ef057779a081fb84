import Core

/// A text with holes that are filled from a request: `/new/{id}/{*}`, `https://{host}{path}{query}`.
///
/// Holes are the captures of the route by name, and `{*}` for what the star of the path took, without its first slash;
/// where it is allowed, also `{scheme}`, `{host}` (with port), `{path}`, and `{query}`, which brings its question mark
/// along if there is a query. All are filled with bytes as they stand in the request, that is encoded; in the value of a
/// query parameter what would end it is encoded, too.
public struct PathTemplate: Hashable, Sendable {
  enum Part: Hashable, Sendable {
    case literal([UInt8])
    case capture(Int)
    case rest
    case scheme
    case authority
    case path
    case query
  }

  let parts: [Part]

  /// Why a text is no template.
  public enum Problem: Error, Hashable, Sendable {
    /// A brace that is not closed, or one that closes nothing.
    case brace
    /// A hole that the route cannot fill.
    case unknownHole(String)
    /// A byte that cannot stand in a target: blank, control byte, `#`, or not ASCII.
    case byte
    /// A path that does not begin with one slash, or a location that begins with neither `/`, `http://`, `https://`,
    /// `{scheme}` nor `{path}`.
    case start
  }

  /// What a template becomes, which decides what may stand in it.
  public enum Kind: Hashable, Sendable {
    /// The path of a request target.
    case path
    /// The value of a query parameter; other bytes than unreserved ones are encoded.
    case queryValue
    /// The `Location` of a redirect.
    case location
  }

  /// Reads a template for a route whose path captures `captureNames`.
  public init(_ text: String, kind: Kind, captureNames: [String]) throws(Problem) {
    var parts: [Part] = []
    var literal: [UInt8] = []
    var rest = Substring(text)
    while let letter = rest.first {
      if letter == "}" { throw .brace }
      if letter == "{" {
        guard let end = rest.firstIndex(of: "}") else { throw .brace }
        let name = String(rest[rest.index(after: rest.startIndex)..<end])
        if !literal.isEmpty { parts.append(.literal(literal)) }
        literal = []
        parts.append(try Self.hole(name, kind: kind, captureNames: captureNames))
        rest = rest[rest.index(after: end)...]
      } else {
        try Self.append(letter, kind: kind, to: &literal)
        rest = rest.dropFirst()
      }
    }
    if !literal.isEmpty { parts.append(.literal(literal)) }
    guard Self.beginsWell(parts, kind: kind) else { throw .start }
    self.parts = parts
  }

  private static func hole(_ name: String, kind: Kind, captureNames: [String]) throws(Problem) -> Part {
    if let index = captureNames.firstIndex(of: name) { return .capture(index) }
    switch name {
    case "*": return .rest
    case "scheme" where kind == .location: return .scheme
    case "host" where kind == .location: return .authority
    case "path" where kind == .location: return .path
    case "query" where kind == .location: return .query
    default: throw .unknownHole(name)
    }
  }

  private static func append(_ letter: Character, kind: Kind, to literal: inout [UInt8]) throws(Problem) {
    for byte in letter.utf8 {
      if kind == .queryValue {
        appendEncoded(byte, to: &literal)
      } else {
        guard byte > 0x20, byte < 0x7f, kind == .location || byte != UInt8(ascii: "#") && byte != UInt8(ascii: "?")
        else { throw .byte }
        literal.append(byte)
      }
    }
  }

  private static func beginsWell(_ parts: [Part], kind: Kind) -> Bool {
    guard kind != .queryValue else { return true }
    switch parts.first {
    case .literal(let bytes):
      if bytes.starts(with: "//".utf8) { return false }
      if bytes.first == UInt8(ascii: "/") { return true }
      return kind == .location && (bytes.starts(with: "http://".utf8) || bytes.starts(with: "https://".utf8))
    case .scheme, .path: return kind == .location
    default: return false
    }
  }
}

/// What fills the holes of a ``PathTemplate``. The spans are those of the request, still encoded.
struct TemplateSource: ~Escapable {
  var path: RawSpan
  var query: RawSpan
  var authority: RawSpan
  var captures: RouteCaptures

  @_lifetime(copy path, copy query, copy authority)
  init(path: RawSpan, query: RawSpan, authority: RawSpan, captures: RouteCaptures) {
    self.path = path
    self.query = query
    self.authority = authority
    self.captures = captures
  }
}

extension PathTemplate {
  /// Appends the text with its holes filled.
  func append(_ source: borrowing TemplateSource, isSecure: Bool, to buffer: ByteBuffer) {
    for part in parts {
      switch part {
      case .literal(let bytes): buffer.append(bytes)
      case .capture(let index):
        append(source.path, source.captures.start(index), source.captures.byteCount(index), to: buffer)
      case .rest:
        let start = min(Int(source.captures.restStart), source.path.byteCount)
        append(source.path, start, source.path.byteCount &- start, to: buffer)
      case .scheme: buffer.append(isSecure ? "https" : "http")
      case .authority: buffer.append(source.authority)
      case .path: buffer.append(source.path)
      case .query:
        if source.query.byteCount > 0 {
          buffer.append(UInt8(ascii: "?"))
          buffer.append(source.query)
        }
      }
    }
  }

  /// Appends the value of a query parameter: what a path may hold as it is but would end the value there, or mean something
  /// else, is encoded, so that no client adds parameters of its own.
  func appendQueryValue(_ source: borrowing TemplateSource, to buffer: ByteBuffer) {
    let text = ByteBuffer(capacity: source.path.byteCount + 64)
    append(source, isSecure: false, to: text)
    for offset in 0..<text.count {
      switch text[offset] {
      case UInt8(ascii: "&"): buffer.append("%26")
      case UInt8(ascii: "+"): buffer.append("%2B")
      case UInt8(ascii: ";"): buffer.append("%3B")
      case UInt8(ascii: "="): buffer.append("%3D")
      case let byte: buffer.append(byte)
      }
    }
  }

  private func append(_ path: RawSpan, _ start: Int, _ count: Int, to buffer: ByteBuffer) {
    guard start &+ count <= path.byteCount else { return }
    buffer.append(path.extracting(start..<(start &+ count)))
  }
}

/// Appends a byte of a query name or value, as a percent triplet unless it is unreserved (RFC 3986 section 2.3).
func appendEncoded(_ byte: UInt8, to bytes: inout [UInt8]) {
  switch byte {
  case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
    UInt8(ascii: "~"):
    bytes.append(byte)
  default:
    let digits = Array("0123456789ABCDEF".utf8)
    bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
  }
}
