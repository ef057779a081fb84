import Core
import HTTP
import Testing

/// RFC 9113 section 8 and RFC 8441: what a message must be, and what becomes of it in HTTP/1.1.
@Suite("HTTP/2 messages (RFC 9113 section 8, RFC 8441)")
struct HTTP2MessageTests {
  typealias Peer = HTTP2Peer

  static let base = Peer.get
  static func without(_ name: String) -> [(String, String)] { base.filter { $0.0 != name } }
  static func with(_ name: String, _ value: String) -> [(String, String)] { without(name) + [(name, value)] }

  /// Requests that are malformed, each with the rule it breaks.
  static let malformed: [(fields: [(String, String)], fault: HTTP2Fault)] = [
    (without(":method"), .missingPseudoField), (without(":path"), .missingPseudoField),
    (without(":scheme"), .missingPseudoField), (with(":path", ""), .malformedPseudoField),
    (with(":path", "x"), .malformedPseudoField), (with(":path", "*"), .malformedPseudoField),
    (with(":path", "/a b"), .malformedPseudoField), (with(":path", "/a\tb"), .malformedPseudoField),
    (with(":path", "http://b.example/"), .malformedPseudoField), (with(":path", "/ HTTP/1.1"), .malformedPseudoField),
    (with(":path", "/a\r\nx: y"), .malformedFieldValue), (with(":path", "/\0"), .malformedFieldValue),
    (with(":method", "GET /x HTTP/1.1"), .malformedPseudoField), (with(":method", ""), .malformedPseudoField),
    (with(":method", "G\nT"), .malformedFieldValue), (with(":scheme", "ftp"), .malformedPseudoField),
    (with(":authority", "a b"), .malformedPseudoField), (with(":authority", ""), .malformedPseudoField),
    (base + [(":path", "/")], .repeatedPseudoField), (base + [(":x", "y")], .unknownPseudoField),
    (base + [(":status", "200")], .unknownPseudoField), ([("a", "b")] + base, .pseudoFieldAfterField),
    (base + [("cookie", "a=b"), (":x", "y")], .pseudoFieldAfterField), (base + [("Accept", "b")], .malformedFieldName),
    (base + [("a b", "c")], .malformedFieldName), (base + [("a:b", "c")], .malformedFieldName),
    (base + [("", "c")], .malformedFieldName), (base + [("a\r\nb", "c")], .malformedFieldName),
    (base + [("a", "b\r\nc: d")], .malformedFieldValue), (base + [("a", "b\nc")], .malformedFieldValue),
    (base + [("a", "b\0")], .malformedFieldValue), (base + [("a", " b")], .malformedFieldValue),
    (base + [("a", "b ")], .malformedFieldValue), (base + [("a", "\tb")], .malformedFieldValue),
    (base + [("cookie", "a\r\nb")], .malformedFieldValue), (base + [("host", "a.example\r\n")], .malformedFieldValue),
    (base + [("connection", "close")], .connectionSpecificField),
    (base + [("connection", "x-y")], .connectionSpecificField),
    (base + [("keep-alive", "1")], .connectionSpecificField),
    (base + [("proxy-connection", "close")], .connectionSpecificField),
    (base + [("transfer-encoding", "chunked")], .connectionSpecificField),
    (base + [("upgrade", "h2c")], .connectionSpecificField), (base + [("te", "gzip")], .malformedTE),
    (base + [("te", "trailers, gzip")], .malformedTE), (base + [("host", "b.example")], .authorityMismatch),
    (base + [("host", "a.example"), ("host", "a.example")], .repeatedField),
    (without(":authority") + [("host", "a b")], .malformedFieldValue),
    (base + [("content-length", "5")], .contentLengthMismatch),
    (base + [("content-length", "0"), ("content-length", "0")], .repeatedField),
    (base + [("content-length", "+0")], .malformedContentLength),
    (base + [("content-length", "0, 0")], .malformedContentLength),
    (base + [("content-length", "")], .malformedContentLength),
    (base + [("content-length", "-1")], .malformedContentLength),
    (with(":method", "CONNECT"), .unexpectedProtocol), (base + [(":protocol", "websocket")], .unexpectedProtocol),
    ([(":method", "CONNECT")], .missingPseudoField),
    (with(":method", "CONNECT") + [(":protocol", "websocket"), ("content-length", "0")], .malformedContentLength),
  ].map { fields, fault in (fields, fault) }

  @Test("8.2 and 8.3 malformed requests are refused and never seen", arguments: malformed.indices)
  func refused(index: Int) {
    let (fields, fault) = Self.malformed[index]
    let peer = Peer()
    let sorted = fields.filter { $0.0.hasPrefix(":") } + fields.filter { !$0.0.hasPrefix(":") }
    peer.request(1, fault == .pseudoFieldAfterField ? fields : sorted)
    #expect(peer.connection.lastStreamFault == fault, "\(fields)")
    #expect(peer.workspace.count(of: .streamFault) == 1 && peer.workspace.exceededCount == 1)
    #expect(peer.streams.isEmpty && peer.connection.closure == nil && peer.connection.openStreams == 0)
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.resetStream] && frames[0].word() == HTTP2ErrorCode.protocolError.rawValue)
  }

  /// Requests as they come and as they are read.
  static let requestTable: [(fields: [(String, String)], text: String)] = [
    (base, "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"),
    (
      [(":path", "/a?b=c"), (":authority", "a:8080"), (":scheme", "http"), (":method", "PATCH"), ("x", "y")],
      "PATCH /a?b=c HTTP/1.1\r\nhost: a:8080\r\nx: y\r\n\r\n"
    ),
    (
      [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")],
      "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"
    ),
    (without(":authority") + [("host", "b.example")], "GET / HTTP/1.1\r\nhost: b.example\r\n\r\n"),
    (base + [("host", "A.EXAMPLE"), ("x", "y")], "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\n\r\n"),
    (
      base + [("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")],
      "GET / HTTP/1.1\r\nhost: a.example\r\nx: y\r\ncookie: a=b; c=d; e=f\r\n\r\n"
    ),
    (base + [("te", "trailers")], "GET / HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n"),
    (base + [("empty", ""), ("tab", "a\tb")], "GET / HTTP/1.1\r\nhost: a.example\r\nempty: \r\ntab: a\tb\r\n\r\n"),
    (base + [("content-length", "0")], "GET / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"),
  ]

  @Test("8.3.1 a request becomes the head of HTTP/1.1 that says the same", arguments: requestTable.indices)
  func heads(index: Int) throws {
    let peer = Peer()
    peer.request(1, Self.requestTable[index].fields)
    #expect(peer.read(try #require(peer.streams.first)) == Self.requestTable[index].text)
  }

  @Test("Equal blocks are equal heads as long as the table stays as it is, and no longer")
  func repeatedBlocks() throws {
    let peer = Peer { $0.concurrentStreams = 100 }
    var id: UInt32 = 1
    func head(_ block: [UInt8], ends: Bool = true) throws -> String {
      peer.send(Peer.headers, ends ? Peer.whole : Peer.endHeaders, stream: id, block)
      id += 2
      return peer.read(try #require(peer.streams.last))
    }
    // :authority and x are entries 63 and 62.
    let first = try head([0x82, 0x87, 0x84, 0x41, 1, 0x61, 0x40, 1, 0x78, 1, 0x79])
    #expect(first == "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n")
    let block: [UInt8] = [0x82, 0x87, 0x84, 0xbf, 0xbe]
    let idle = peer.connection.footprint
    for _ in 0..<5 { #expect(try head(block) == first) }
    #expect(peer.connection.footprint > idle && peer.connection.footprint < idle + 1_024)
    let chunked = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    for _ in 0..<3 { #expect(try head(block, ends: false) == chunked) }
    #expect(try head(block) == first)
    // One more entry: the same indexes are other fields.
    #expect(try head([0x82, 0x87, 0x84, 0xbf, 0x40, 1, 0x78, 1, 0x7a]).hasSuffix("x: z\r\n\r\n"))
    #expect(try head(block) == "GET / HTTP/1.1\r\nx: y\r\nx: z\r\n\r\n")
    for _ in 0..<3 { #expect(try head([0x82, 0x87, 0x84, 0xc0, 0xbf, 0xbe]).hasSuffix("x: y\r\nx: z\r\n\r\n")) }
    // An empty table: no index means anything.
    #expect(try head([0x20, 0x82, 0x87, 0x84, 0x01, 1, 0x62]) == "GET / HTTP/1.1\r\nhost: b\r\n\r\n")
    peer.send(Peer.headers, Peer.whole, stream: id, [0x82, 0x87, 0x84, 0xc0, 0xbf, 0xbe])
    #expect(peer.connection.closure == HTTP2Closure(code: .compressionError, fault: .malformedFieldBlock))
  }

  @Test("8.1 a body without a length is chunked, its trailers behind it")
  func chunked() throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    #expect(peer.read(stream) == "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n")
    peer.send(Peer.data, 0, stream: 1, Array("hello ".utf8))
    peer.send(Peer.data, 0, stream: 1, Array("world".utf8))
    #expect(peer.read(stream) == "b\r\nhello world\r\n")
    peer.request(1, [("x-sum", "7"), ("content-length", "3"), ("host", "b")])
    #expect(peer.read(stream) == "0\r\nx-sum: 7\r\n\r\n")
    #expect(peer.standing(stream) == .wouldBlock)
  }

  @Test("However little is read at a time, the chunks are whole", arguments: [64, 65, 80, 100, 1_000])
  func smallReads(limit: Int) throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    let body = String(repeating: "0123456789", count: 100)
    peer.send(Peer.data, Peer.endStream, stream: 1, Array(body.utf8))
    let text = peer.read(stream, limit: limit)
    let buffer = ByteBuffer()
    let head = try #require(text.firstRange(of: "\r\n\r\n"))
    buffer.append(utf8: String(text[head.upperBound...]))
    var (decoder, decoded) = (ChunkedDecoder(), "")
    reading: while true {
      switch decoder.next(buffer.bytes) {
      case .data(let skip, let count):
        decoded += String(decoding: buffer.bytes.extracting(skip..<skip + count).array, as: UTF8.self)
        buffer.consume(skip + count)
      case .end: break reading
      default:
        Issue.record("not the whole body")
        break reading
      }
    }
    #expect(decoded == body)
  }

  @Test(
    "8.1.1 a body that is not as long as content-length says is no body",
    arguments: [([3, 3], true), ([6], false), ([3], true), ([2, 2], true)] as [([Int], Bool)])
  func contentLength(parts: [Int], ends: Bool) throws {
    let peer = Peer()
    peer.request(1, Peer.post + [("content-length", "5")], Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    for (index, count) in parts.enumerated() {
      let isLast = index == parts.count - 1
      peer.send(Peer.data, isLast && ends ? 1 : 0, stream: 1, [UInt8](repeating: 97, count: count))
    }
    #expect(peer.connection.lastStreamFault == .contentLengthMismatch && peer.standing(stream) == .failed(.reset))
    #expect(peer.frames().last?.type == Peer.resetStream)
  }

  @Test("8.1.1 trailers do not make up for a body that is too short")
  func shortWithTrailers() {
    let peer = Peer()
    peer.request(1, Peer.post + [("content-length", "5")], Peer.endHeaders)
    peer.request(1, [("x", "y")])
    #expect(peer.connection.lastStreamFault == .contentLengthMismatch)
  }

  @Test("8.5 nothing that follows CONNECT is ever read, since there is no tunnel")
  func connect() throws {
    let peer = Peer()
    peer.request(1, [(":method", "CONNECT"), (":authority", "b.example:80")], Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    peer.send(Peer.data, 0, stream: 1, Array("GET /secret HTTP/1.1\r\nhost: b\r\n\r\n".utf8))
    #expect(peer.read(stream) == "CONNECT b.example:80 HTTP/1.1\r\nhost: b.example:80\r\n\r\n")
    peer.write(stream, "HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\n\r\n")
    peer.send(Peer.data, 1, stream: 1, Array("GET /secret HTTP/1.1\r\n\r\n".utf8))
    #expect(peer.read(stream) == "" && peer.standing(stream) == .ended)
  }

  static let webSocket: [(String, String)] = [
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat"),
    (":authority", "a.example"), ("sec-websocket-version", "13"), ("sec-websocket-key", "x"),
  ]

  @Test("RFC 8441: extended CONNECT becomes an upgrade, 101 becomes 200, then bytes go both ways")
  func webSocketTunnel() throws {
    let peer = Peer()
    peer.request(1, Self.webSocket, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    peer.send(Peer.data, 0, stream: 1, Array("early".utf8))
    let head = peer.read(stream)
    #expect(
      head.hasPrefix("GET /chat HTTP/1.1\r\nhost: a.example\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\n"))
    #expect(head.hasSuffix("upgrade: websocket\r\nsec-websocket-key: BAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"))
    peer.write(
      stream,
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: accept-BAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: chat\r\n\r\nwelcome")
    let frames = peer.frames()
    #expect(peer.fields(frames[0]) == [":status: 200", "sec-websocket-protocol: chat"] && frames[0].flags == 4)
    #expect(frames[1].payload == Array("welcome".utf8))
    #expect(peer.read(stream) == "early")
    peer.send(Peer.data, 1, stream: 1, Array("bye".utf8))
    #expect(peer.read(stream) == "bye" && peer.standing(stream) == .ended)
    peer.connection.endSending(stream)
    #expect(peer.frames().map(\.flags) == [Peer.endStream] && peer.connection.openStreams == 0)
  }

  @Test(
    "RFC 8441: an upstream that agrees without the answer to the key is a broken one",
    arguments: [
      "", "Sec-WebSocket-Accept: z\r\n", "Sec-WebSocket-Accept: accept-CAAAAAAAAAAAAAAAAAAAAA==\r\n",
      "Sec-WebSocket-Accept: accept-BAAAAAAAAAAAAAAAAAAAAA\r\n",
      "Sec-WebSocket-Accept: ACCEPT-BAAAAAAAAAAAAAAAAAAAAA==\r\n",
      String(repeating: "Sec-WebSocket-Accept: accept-BAAAAAAAAAAAAAAAAAAAAA==\r\n", count: 2),
    ])
  func webSocketUnproved(answer: String) throws {
    let peer = Peer()
    peer.request(1, Self.webSocket, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    _ = peer.read(stream)
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\(answer)\r\n"
    #expect(peer.write(stream, head) == .failed(.reset) && peer.takeEvents(stream).contains(.broken))
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.headers, Peer.resetStream] && frames.map(\.flags) == [Peer.whole, 0])
    #expect(peer.fields(frames[0]) == [":status: 502"] && frames[1].word() == 0)
    peer.connection.close(stream, reset: true)
    #expect(peer.frames().isEmpty && peer.connection.openStreams == 0 && peer.connection.closure == nil)
  }

  @Test("RFC 8441: blocks that are the same get keys that are not")
  func repeatedWebSocket() throws {
    let peer = Peer()
    for index in 0..<4 {
      let fields = Self.webSocket.map { ($0.0, $0.0 == ":path" ? "/" : $0.0 == ":authority" ? "a" : $0.1) }.dropLast(2)
      peer.request(UInt32(index * 2 + 1), Array(fields), Peer.endHeaders)
      let key = ["B", "C", "D", "E"][index] + "AAAAAAAAAAAAAAAAAAAAA=="
      #expect(peer.read(peer.streams[index]).hasSuffix("\r\nsec-websocket-key: \(key)\r\n\r\n"))
    }
  }

  @Test("RFC 8441: what follows a refused upgrade is never read")
  func webSocketRefused() throws {
    let peer = Peer()
    peer.request(1, Self.webSocket, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    peer.send(Peer.data, 0, stream: 1, Array("GET /secret HTTP/1.1\r\n\r\n".utf8))
    _ = peer.read(stream)
    peer.write(stream, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
    peer.send(Peer.data, 0, stream: 1, Array("GET /secret HTTP/1.1\r\n\r\n".utf8))
    #expect(peer.read(stream) == "")
    #expect(peer.frames().filter { $0.type == Peer.data }.map(\.flags) == [Peer.endStream])
  }

  @Test(
    "RFC 8441: another protocol is answered with 501, and so is one that was not offered", arguments: [true, false])
  func otherProtocol(isOffered: Bool) {
    let peer = Peer { $0.offersExtendedConnect = isOffered }
    let fields = Self.webSocket.map { isOffered && $0.0 == ":protocol" ? (":protocol", "connect-udp") : $0 }
    peer.request(1, fields, Peer.endHeaders)
    let frames = peer.frames()
    #expect(peer.streams.isEmpty && frames.map(\.type) == [Peer.headers, Peer.resetStream])
    #expect(peer.fields(frames[0]) == [":status: 501"])
  }

  /// Responses as they are written, and their fields, DATA and trailers.
  static let responseTable: [(text: String, fields: [[String]], body: String)] = [
    (
      "HTTP/1.1 200 OK\r\nServer: x\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\nabc",
      [[":status: 200", "server: x", "content-length: 3"]], "abc"
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", [[":status: 204"]], ""),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", [[":status: 304", "content-length: 9"]], ""),
    (
      "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n",
      [[":status: 103", "link: <a>"], [":status: 418", "content-length: 0"]], ""
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", [[":status: 200"]],
      "abcde"
    ),
    (
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 9\r\nX: y\r\n\r\n",
      [[":status: 200"], ["grpc-status: 0", "x: y"]], "abc"
    ),
  ]

  @Test(
    "8.3.2 responses of HTTP/1.1 become fields, DATA and trailers, however they are cut",
    arguments: responseTable.indices, [1, 7, 10_000])
  func responses(index: Int, step: Int) throws {
    let (text, fields, body) = Self.responseTable[index]
    let peer = Peer()
    peer.request(1)
    let stream = try #require(peer.streams.first)
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: step) {
      let part = Array(bytes[start..<min(start + step, bytes.count)])
      #expect(peer.connection.write(stream, RawSpan(part)) == .count(part.count))
    }
    let frames = peer.frames()
    #expect(frames.filter { $0.type == Peer.headers }.map { peer.fields($0) } == fields)
    #expect(String(decoding: frames.filter { $0.type == Peer.data }.flatMap(\.payload), as: UTF8.self) == body)
    #expect(frames.map { $0.flags & Peer.endStream } == frames.indices.map { $0 == frames.count - 1 ? 1 : 0 })
    #expect(peer.connection.openStreams == 0)
  }

  @Test("9.3.2 of RFC 9110: a response to HEAD has no body, whatever it announces")
  func headRequest() throws {
    let peer = Peer()
    peer.request(1, Self.with(":method", "HEAD").sorted { $0.0 < $1.0 })
    peer.write(try #require(peer.streams.first), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    let frames = peer.frames()
    #expect(frames.map(\.flags) == [Peer.whole] && peer.fields(frames[0]).last == "content-length: 500")
  }

  @Test(
    "What is no response breaks the stream",
    arguments: [
      "HTTP/2 200\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ])
  func malformedResponse(text: String) throws {
    let peer = Peer()
    peer.request(1)
    let stream = try #require(peer.streams.first)
    #expect(peer.write(stream, text) == .failed(.reset))
    #expect(peer.connection.lastStreamFault == .malformedOutgoingMessage)
    #expect(peer.frames().last?.word() == HTTP2ErrorCode.internalError.rawValue)
  }

  @Test("4.3 and 6.10 large heads go out in CONTINUATION")
  func largeHead() throws {
    let peer = Peer()
    peer.request(1)
    let fields = (0..<5).map { "X-\($0): \(String(repeating: "v", count: 8_000))\r\n" }.joined()
    peer.write(try #require(peer.streams.first), "HTTP/1.1 200 OK\r\n\(fields)Content-Length: 0\r\n\r\n")
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.headers, 9, 9] && frames.map(\.flags) == [1, 0, 4])
    let whole = Peer.Frame(type: 1, flags: 5, stream: 1, payload: frames.flatMap(\.payload))
    #expect(peer.fields(whole).count == 7)
  }

  @Test("RFC 7541 4.2: a block that was seen before changes the table's size again")
  func repeatedSizeUpdate() throws {
    let peer = Peer()
    let references: [UInt8] = [0x82, 0x87, 0x84, 0x41, 1, 97]
    let small = [0x20] + references.prefix(3) + [0x01, 1, 97]
    for id in [1, 3] as [UInt32] { peer.send(Peer.headers, Peer.whole, stream: id, small) }
    peer.send(Peer.headers, Peer.whole, stream: 5, [0x3f, 0xe1, 0x1f] + references.prefix(3) + [0x01, 1, 97])
    peer.send(Peer.headers, Peer.whole, stream: 7, small)
    #expect(peer.streams.count == 4)
    // What is to be indexed finds no room, so that the next reference leads nowhere.
    peer.send(Peer.headers, Peer.whole, stream: 9, Array(references))
    peer.send(Peer.headers, Peer.whole, stream: 11, references.prefix(3) + [0xbe])
    #expect(peer.connection.closure?.fault == .malformedFieldBlock)
  }
}
