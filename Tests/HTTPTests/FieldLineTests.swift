import Core
import HTTP
import Testing

/// What is read in blocks of bytes, beside the same rules spelled out byte by byte.
@Suite("Field lines")
struct FieldLineTests {
  struct Field: Equatable {
    var name: [UInt8]
    var value: [UInt8]
    var known: FieldName
    var isDropped: Bool
  }

  enum Outcome: Equatable {
    case fields([Field])
    case refused(HTTPFault)
    case incomplete
  }

  private static let start = Array("GET / HTTP/1.0\r\n".utf8)
  private static let lines = Array(
    """
    Accept: */*\r
    X: 1\r
    X-Custom-Name: of no known kind\r
    user-agent: agent of a length beyond one block, 1.2.3 (a; b)\r
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
    If-Modified-Since-Nobody-Knows: x\r
    Via:\t 1.1 tab\t\r
    Age:\r
    \r\n
    """.utf8)

  @Test("A head with any byte at any place is read as the rules have it")
  func changed() {
    let bytes: [UInt8] = [0, 9, 10, 13, 31, 32, 33, 34, 45, 58, 64, 65, 91, 95, 126, 127, 128, 255]
    for place in Self.lines.indices {
      for byte in bytes {
        var changed = Self.lines
        changed[place] = byte
        #expect(Self.read(changed) == Self.expected(changed), "byte \(byte) at \(place)")
      }
    }
  }

  @Test("A name and a value of any length are read as the rules have it", arguments: 0..<70)
  func lengths(count: Int) {
    for blank in ["", " ", "  ", "\t"] {
      for end in ["", " ", "\t"] {
        let run = String(repeating: "n", count: count)
        let text = "\(run):\(blank)v\(end)\r\nN:\(blank)\(run)\(end)\r\nn:\(blank)\u{e9}\(run)\(end)\r\n\r\n"
        let bytes = text.unicodeScalars.map { UInt8($0.value) }
        #expect(Self.read(bytes) == Self.expected(bytes))
      }
    }
  }

  @Test("A head that is cut off anywhere is incomplete")
  func cut() {
    for count in 0..<Self.lines.count {
      #expect(Self.read(Array(Self.lines[..<count])) == .incomplete, "cut at \(count)")
    }
    #expect(Self.read(Self.lines) == Self.expected(Self.lines))
  }

  private static func read(_ bytes: [UInt8]) -> Outcome {
    let head = RequestHead()
    let buffer = ByteBuffer()
    buffer.append(start + bytes)
    switch head.parse(buffer, limits: HeadLimits()) {
    case .incomplete: return .incomplete
    case .refused(let fault): return .refused(fault)
    case .complete:
      return .fields(
        (0..<head.fieldCount).map { index in
          let field = head.field(index)
          return Field(
            name: head.name(of: index).array, value: head.value(of: index).array, known: field.name,
            isDropped: field.isDropped)
        })
    }
  }

  private static func expected(_ bytes: [UInt8]) -> Outcome {
    var fields: [Field] = []
    var start = 0
    while true {
      var end = start
      while end < bytes.count, bytes[end] >= 32 && bytes[end] != 127 || bytes[end] == 9 { end += 1 }
      guard end < bytes.count else { return .incomplete }
      if bytes[end] == 10 { return .refused(.bareLF) }
      if bytes[end] != 13 { return .refused(.controlByte) }
      guard end + 1 < bytes.count else { return .incomplete }
      if bytes[end + 1] != 10 { return .refused(.bareCR) }
      if end == start { return .fields(fields) }
      let line = bytes[start..<end]
      guard let colon = line.firstIndex(of: 58) else {
        return .refused(isBlank(line.first!) ? .lineFolding : .missingColon)
      }
      if let fault = nameFault(Array(line[..<colon])) { return .refused(fault) }
      fields.append(field(Array(line[..<colon]), Array(line[(colon + 1)...])))
      start = end + 2
    }
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

  private static func nameFault(_ name: [UInt8]) -> HTTPFault? {
    let others = Array("!#$%&'*+-.^_`|~".utf8)
    let stranger = name.firstIndex { byte in
      !(48...57).contains(byte) && !(65...90).contains(byte) && !(97...122).contains(byte) && !others.contains(byte)
    }
    guard let stranger else { return name.isEmpty ? .malformedFieldName : nil }
    if stranger == 0 && isBlank(name[0]) { return .lineFolding }
    return name[stranger...].allSatisfy(isBlank) ? .whitespaceBeforeColon : .malformedFieldName
  }

  private static func field(_ name: [UInt8], _ rest: [UInt8]) -> Field {
    let value = rest.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
    let known = FieldName.of(RawSpan(name))
    let dashed = name.map { $0 == 95 ? 45 : $0 }
    let isLookalike = known == .other && dashed != name && FieldName.of(RawSpan(dashed)) != .other
    return Field(name: name, value: Array(value), known: known, isDropped: isLookalike)
  }
}

@Suite("Blocks of a request line and of values")
struct BlockTests {
  private static func outcome(_ text: String) -> HeadResult {
    RequestHead().parse(buffer(text), limits: HeadLimits())
  }

  @Test("A path is cut alike wherever its slashes and dots stand", arguments: 0..<50)
  func paths(padding: Int) {
    let pad = "/" + String(repeating: "p", count: padding)
    let line = { (target: String) in "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n" }
    #expect(Self.outcome(line(pad + "//a")) == .refused(.emptySegment))
    #expect(Self.outcome(line(pad + "/./a")) == .refused(padding == 0 ? .emptySegment : .dotSegment))
    #expect(Self.outcome(line(pad + "a/..")) == .refused(.dotSegment))
    #expect(Self.outcome(line(pad + "a/..;x/b")) == .refused(.dotSegment))
    #expect(Self.outcome(line(pad + "%2e/b")) == .refused(.encodedDot))
    #expect(Self.outcome(line(pad + "#b")) == .refused(.fragmentInTarget))
    #expect(Self.outcome(line(pad + " b")) == .refused(.malformedRequestLine))
    #expect(Self.outcome(line(pad + "\"b")) == .refused(.malformedTarget))
    for tail in ["", "a.b", "a/.b", "a/..b", "a/b/", "a~b", "a%20b", "a,b;c"] {
      for query in ["", "?", "?a=//../.&b=?"] {
        let head = RequestHead()
        let text = line(pad + tail + query)
        #expect(head.parse(buffer(text), limits: HeadLimits()) == .complete(byteCount: text.utf8.count))
        #expect(head.bytes(head.path).text == pad + tail)
        #expect(head.bytes(head.query).text == query.dropFirst())
      }
    }
  }

  @Test("A decimal number is read up to 63 bits, and nothing else is", arguments: 1...21)
  func decimals(count: Int) {
    let digits = String("1234567890123456789012".prefix(count))
    let expected = Int64(digits).map { BodyFraming.length($0) }
    let outcome = { (value: String) -> BodyFraming? in
      let head = RequestHead()
      let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(value)\r\n\r\n"
      if case .complete = head.parse(buffer(text), limits: HeadLimits()) { return head.framing }
      return nil
    }
    #expect(outcome(digits) == expected)
    #expect(outcome(String(repeating: "0", count: count)) == (count <= 19 ? .length(0) : nil))
    for place in 0..<count {
      for junk in ["/", ":", " ", "-", "+", "a", "\t", "\u{b9}", "\u{80}", "\u{ff}"] {
        let start = digits.index(digits.startIndex, offsetBy: place)
        let spoilt = digits.replacingCharacters(in: start...start, with: "x" + junk + "x")
        #expect(outcome(spoilt) == nil)
        let inside = String(digits[..<start]) + junk + String(digits[digits.index(after: start)...])
        let isEnd = place == 0 || place == count - 1
        if !(isEnd && (junk == " " || junk == "\t")) { #expect(outcome(inside) == nil, "\(inside.debugDescription)") }
      }
    }
  }

  @Test("A port has one to five digits and is below 65536")
  func ports() {
    for (port, isRead) in [
      ("", false), ("0", true), ("80", true), ("65535", true), ("65536", false), ("000080", false), ("8o", false),
      ("+80", false), ("80:", false), ("99999", false),
    ] {
      for host in ["a", "a-host.example", "a-long-name-of-a-host.example.org", "[::1]"] {
        let text = "GET / HTTP/1.1\r\nHost: \(host):\(port)\r\n\r\n"
        let head = RequestHead()
        let result = head.parse(buffer(text), limits: HeadLimits())
        #expect(result == (isRead ? .complete(byteCount: text.utf8.count) : .refused(.malformedHost)), "\(text)")
        if isRead { #expect(head.port == UInt16(port) && head.bytes(head.host).text == host) }
      }
    }
  }

  @Test("A head goes back and forth between any number of buffers")
  func buffers() {
    let head = RequestHead()
    var buffers: [ByteBuffer] = []
    for index in 0..<5 { buffers.append(buffer("GET /\(index) HTTP/1.1\r\nHost: a\r\n\r\n")) }
    for index in [0, 1, 0, 2, 0, 2, 1, 3, 4, 4, 0, 3, 0, 1] {
      head.rebind(to: buffers[index])
      #expect(head.bytes(ByteRange(start: 4, count: 2)).text == "/\(index)")
    }
    // It keeps what it looks at.
    head.rebind(to: buffer("GET /9"))
    buffers.removeAll()
    #expect(head.bytes(ByteRange(start: 4, count: 2)).text == "/9")
  }

  @Test("Lines that are passed on are what came, but for those that are dropped", arguments: 0..<32)
  func copies(dropped: Int) {
    let head = RequestHead()
    let fields = ["Host: a\r\n", "X-One:1\r\n", "X-Two:  2 \t\r\n", "X-Three: 3\r\n", "X-Four: 4 \r\n"]
    let line = "GET / HTTP/1.1\r\n"
    _ = head.parse(buffer(line + fields.joined() + "\r\n"), limits: HeadLimits())
    for index in 0..<5 where dropped >> index & 1 == 1 { head.drop(index) }
    let kept = fields.indices.filter { dropped >> $0 & 1 == 0 }.map { index in
      // Blanks behind the last value of a run are gone.
      let isLast = index == 4 || dropped >> (index + 1) & 1 == 1
      return isLast ? fields[index].trimmingBlanks + "\r\n" : fields[index]
    }
    let copy = ByteBuffer()
    head.appendFields(to: copy)
    #expect(copy.bytes.text == kept.joined())
    copy.removeAll()
    head.appendFields(behind: ByteRange(start: 0, count: UInt32(line.utf8.count)), to: copy)
    #expect(copy.bytes.text == line + kept.joined())
  }
}

extension String {
  fileprivate var trimmingBlanks: String {
    String(reversed().drop { $0 == " " || $0 == "\t" || $0.isNewline }.reversed())
  }

  fileprivate func replacingCharacters(in range: ClosedRange<Index>, with text: String) -> String {
    String(self[..<range.lowerBound]) + text + String(self[index(after: range.upperBound)...])
  }
}

extension RawSpan {
  fileprivate var array: [UInt8] { (0..<byteCount).map { unsafe unsafeLoad(fromByteOffset: $0, as: UInt8.self) } }
}
