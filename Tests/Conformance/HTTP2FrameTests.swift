import Core
import HTTP
import Testing

/// RFC 9113 sections 3, 4 and 6 frame by frame: what ends a connection, what ends a stream, with which code.
@Suite("HTTP/2 frames (RFC 9113 sections 3, 4 and 6)")
struct HTTP2FrameTests {
  typealias Peer = HTTP2Peer

  /// One thing that a client must not send.
  struct Breach: Sendable, CustomStringConvertible {
    let name: String
    let fault: HTTP2Fault
    let code: HTTP2ErrorCode
    let bytes: [UInt8]

    var description: String { name }

    init(_ name: String, _ fault: HTTP2Fault, _ code: HTTP2ErrorCode, _ frames: [UInt8]...) {
      self.name = name
      self.fault = fault
      self.code = code
      bytes = frames.flatMap { $0 }
    }
  }

  static let open = Peer.frame(Peer.headers, Peer.endHeaders, stream: 1, Peer.block(Peer.post))
  static let fragment = Peer.frame(Peer.headers, Peer.endStream, stream: 1, Peer.block(Peer.get))

  static let connectionBreaches: [Breach] = [
    Breach(
      "4.2 a frame larger than SETTINGS_MAX_FRAME_SIZE", .frameTooLarge, .frameSizeError,
      Peer.frame(Peer.ping, stream: 0, [UInt8](repeating: 0, count: 16_385))),
    Breach(
      "4.3 a field block that is none", .malformedFieldBlock, .compressionError, Peer.frame(1, 5, stream: 1, [0x80])),
    Breach("5.1 DATA on an idle stream", .frameOnIdleStream, .protocolError, Peer.frame(0, 0, stream: 1, [1])),
    Breach(
      "5.1 RST_STREAM on an idle stream", .frameOnIdleStream, .protocolError, Peer.frame(3, 0, stream: 1, Peer.word(8))),
    Breach(
      "5.1 WINDOW_UPDATE on an idle stream", .frameOnIdleStream, .protocolError,
      Peer.frame(8, 0, stream: 1, Peer.word(8))),
    Breach(
      "5.1.1 a stream with an even identifier", .evenStreamOfClient, .protocolError,
      Peer.frame(1, 5, stream: 2, Peer.block(Peer.get))),
    Breach(
      "5.1.1 an identifier below an earlier one", .headersOnClosedStream, .streamClosed,
      Peer.frame(1, 5, stream: 5, Peer.block(Peer.get)), Peer.frame(1, 5, stream: 3, Peer.block(Peer.get))),
    Breach("6.1 DATA on stream 0", .missingStream, .protocolError, Peer.frame(0, 0, stream: 0, [1])),
    Breach(
      "6.1 padding as long as the frame", .paddingTooLong, .protocolError, open, Peer.frame(0, 8, stream: 1, [3, 1, 0])),
    Breach("6.1 padding without a length", .wrongFrameSize, .frameSizeError, open, Peer.frame(0, 8, stream: 1)),
    Breach(
      "6.2 HEADERS on stream 0", .missingStream, .protocolError, Peer.frame(1, 5, stream: 0, Peer.block(Peer.get))),
    Breach(
      "6.2 padding longer than the frame", .paddingTooLong, .protocolError, Peer.frame(1, 0xd, stream: 1, [9, 0x82])),
    Breach(
      "6.2 a priority that is cut short", .wrongFrameSize, .frameSizeError, Peer.frame(1, 0x25, stream: 1, [0, 0, 0])),
    Breach("6.3 PRIORITY on stream 0", .missingStream, .protocolError, Peer.frame(2, 0, stream: 0, [0, 0, 0, 0, 1])),
    Breach("6.4 RST_STREAM on stream 0", .missingStream, .protocolError, Peer.frame(3, 0, stream: 0, Peer.word(8))),
    Breach(
      "6.4 RST_STREAM of three bytes", .wrongFrameSize, .frameSizeError, open, Peer.frame(3, 0, stream: 1, [0, 0, 8])),
    Breach("6.5 SETTINGS on a stream", .wrongStreamZero, .protocolError, Peer.frame(4, 0, stream: 1)),
    Breach(
      "6.5 SETTINGS of five bytes", .wrongFrameSize, .frameSizeError, Peer.frame(4, 0, stream: 0, [0, 1, 0, 0, 0])),
    Breach(
      "6.5 an acknowledgement with settings", .wrongFrameSize, .frameSizeError,
      Peer.frame(4, 1, stream: 0, Peer.setting(1, 4_096))),
    Breach("6.5.2 ENABLE_PUSH of 2", .invalidSetting, .protocolError, Peer.frame(4, 0, Peer.setting(2, 2))),
    Breach(
      "6.5.2 INITIAL_WINDOW_SIZE of 2^31", .initialWindowOverflow, .flowControlError,
      Peer.frame(4, 0, Peer.setting(4, 1 << 31))),
    Breach(
      "6.5.2 MAX_FRAME_SIZE below 2^14", .invalidSetting, .protocolError, Peer.frame(4, 0, Peer.setting(5, 16_383))),
    Breach("6.5.2 MAX_FRAME_SIZE of 2^24", .invalidSetting, .protocolError, Peer.frame(4, 0, Peer.setting(5, 1 << 24))),
    Breach(
      "RFC 8441 ENABLE_CONNECT_PROTOCOL of 2", .invalidSetting, .protocolError, Peer.frame(4, 0, Peer.setting(8, 2))),
    Breach(
      "RFC 9218 NO_RFC7540_PRIORITIES of 2", .invalidSetting, .protocolError, Peer.frame(4, 0, Peer.setting(9, 2))),
    Breach(
      "6.6 PUSH_PROMISE from a client", .pushNotAllowed, .protocolError, open, Peer.frame(5, 4, stream: 1, Peer.word(2))
    ),
    Breach(
      "6.7 PING on a stream", .wrongStreamZero, .protocolError, Peer.frame(6, 0, stream: 1, Peer.word(1) + Peer.word(2))
    ),
    Breach("6.7 PING of seven bytes", .wrongFrameSize, .frameSizeError, Peer.frame(6, 0, [1, 2, 3, 4, 5, 6, 7])),
    Breach(
      "6.8 GOAWAY on a stream", .wrongStreamZero, .protocolError,
      Peer.frame(7, 0, stream: 1, Peer.word(1) + Peer.word(2))),
    Breach("6.8 GOAWAY of seven bytes", .wrongFrameSize, .frameSizeError, Peer.frame(7, 0, [1, 2, 3, 4, 5, 6, 7])),
    Breach("6.9 WINDOW_UPDATE of three bytes", .wrongFrameSize, .frameSizeError, Peer.frame(8, 0, [0, 0, 1])),
    Breach("6.9 a window opened by 0", .emptyConnectionWindowUpdate, .protocolError, Peer.frame(8, 0, Peer.word(0))),
    Breach(
      "6.9.1 a window beyond 2^31-1", .connectionWindowOverflow, .flowControlError,
      Peer.frame(8, 0, Peer.word(0x7fff_ffff))),
    Breach(
      "6.9.2 settings that open a stream's window beyond 2^31-1", .initialWindowOverflow, .flowControlError, open,
      Peer.frame(8, 0, stream: 1, Peer.word(1 << 20)), Peer.frame(4, 0, Peer.setting(4, 0x7fff_ffff))),
    Breach(
      "6.10 CONTINUATION without HEADERS", .continuationWithoutHeaders, .protocolError, open,
      Peer.frame(9, 4, stream: 1)),
    Breach(
      "6.10 CONTINUATION of another stream", .interruptedFieldBlock, .protocolError, fragment,
      Peer.frame(9, 4, stream: 3)),
    Breach(
      "6.10 another frame within a field block", .interruptedFieldBlock, .protocolError, fragment,
      Peer.frame(6, 0, Peer.word(1) + Peer.word(2))),
    Breach(
      "5.5 an unknown frame within a field block", .interruptedFieldBlock, .protocolError, fragment,
      Peer.frame(0x20, 0, stream: 1)),
    Breach(
      "RFC 9218 PRIORITY_UPDATE on a stream", .wrongStreamZero, .protocolError,
      Peer.frame(16, 0, stream: 1, Peer.word(1))),
    Breach("RFC 9218 PRIORITY_UPDATE of no stream", .missingStream, .protocolError, Peer.frame(16, 0, Peer.word(0))),
  ]

  @Test("What breaks the connection's rules ends it with the right code", arguments: connectionBreaches)
  func connectionError(breach: Breach) throws {
    let peer = Peer()
    peer.send(raw: breach.bytes)
    #expect(peer.connection.closure == HTTP2Closure(code: breach.code, fault: breach.fault))
    let last = try #require(peer.frames().last)
    #expect(last.type == Peer.goAway && last.word(4) == breach.code.rawValue)
  }

  @Test("The same, byte by byte", arguments: connectionBreaches)
  func trickled(breach: Breach) {
    let peer = Peer()
    for byte in breach.bytes where peer.connection.closure == nil { peer.send(raw: [byte]) }
    #expect(peer.connection.closure == HTTP2Closure(code: breach.code, fault: breach.fault))
  }

  static let streamBreaches: [Breach] = [
    Breach(
      "5.1 DATA behind the end of a stream", .frameOnClosedStream, .streamClosed,
      Peer.frame(1, 5, stream: 1, Peer.block(Peer.get)), Peer.frame(0, 0, stream: 1, [1])),
    Breach(
      "5.1 HEADERS behind the end of a stream", .frameOnClosedStream, .streamClosed,
      Peer.frame(1, 5, stream: 1, Peer.block(Peer.get)), Peer.frame(1, 5, stream: 1, Peer.block([("a", "b")]))),
    Breach(
      "6.3 PRIORITY of four bytes", .wrongPrioritySize, .frameSizeError, open,
      Peer.frame(2, 0, stream: 1, [0, 0, 0, 0])),
    Breach(
      "6.9 a stream's window opened by 0", .emptyStreamWindowUpdate, .protocolError, open,
      Peer.frame(8, 0, stream: 1, Peer.word(0))),
    Breach(
      "6.9.1 a stream's window beyond 2^31-1", .streamWindowOverflow, .flowControlError, open,
      Peer.frame(8, 0, stream: 1, Peer.word(0x7fff_ffff))),
    Breach(
      "8.1 trailers that do not end the stream", .trailersWithoutEnd, .protocolError, open,
      Peer.frame(1, 4, stream: 1, Peer.block([("a", "b")]))),
    Breach(
      "8.1 a pseudo-header field in trailers", .pseudoFieldInTrailers, .protocolError, open,
      Peer.frame(1, 5, stream: 1, Peer.block([(":path", "/")]))),
  ]

  @Test("What breaks a stream's rules ends the stream alone", arguments: streamBreaches)
  func streamError(breach: Breach) throws {
    let peer = Peer()
    // Byte by byte: a stream that is over before its owner was told of it is never seen.
    for byte in breach.bytes { peer.send(raw: [byte]) }
    #expect(peer.connection.closure == nil && peer.connection.lastStreamFault == breach.fault)
    let reset = try #require(peer.notableFrames().last)
    #expect(reset.type == Peer.resetStream && reset.stream == 1 && reset.word() == breach.code.rawValue)
    let stream = try #require(peer.streams.first)
    #expect(peer.takeEvents(stream).contains(.broken) && peer.standing(stream) == .failed(.reset))
    // Another stream is served as ever.
    peer.request(3)
    #expect(peer.streams.count == 2)
  }

  @Test("3.4 the preface must come first", arguments: ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "X"])
  func preface(text: String) {
    let peer = Peer(isReady: false)
    peer.send(raw: Array(text.utf8))
    #expect(peer.connection.closure == HTTP2Closure(code: .protocolError, fault: .malformedPreface))
  }

  @Test(
    "3.3 prior knowledge is told from HTTP/1.1 as soon as it can be",
    arguments: [
      ("", nil), ("P", nil), ("PO", false), ("PRI * HTTP/1.1", false), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", nil),
      ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nx", true),
    ] as [(String, Bool?)])
  func priorKnowledge(text: String, answer: Bool?) {
    #expect(HTTP2Connection.isPreface(RawSpan(Array(text.utf8))) == answer)
  }

  @Test("3.4 SETTINGS must follow it", arguments: [Peer.frame(6, 0, Peer.word(1) + Peer.word(2)), Peer.frame(4, 1)])
  func firstFrame(frame: [UInt8]) {
    let peer = Peer(isReady: false)
    peer.send(raw: Peer.preface + frame)
    #expect(peer.connection.closure == HTTP2Closure(code: .protocolError, fault: .firstFrameIsNotSettings))
  }

  @Test("6.5.3 SETTINGS are acknowledged, and unknown ones ignored")
  func acknowledges() {
    let peer = Peer(isReady: false)
    #expect(peer.frames().map(\.type) == [Peer.settings, Peer.windowUpdate])
    peer.send(raw: Peer.preface + Peer.frame(4, 0, Peer.setting(0x77, 1) + Peer.setting(3, 5)))
    #expect(peer.frames() == [Peer.Frame(type: Peer.settings, flags: 1, stream: 0, payload: [])])
  }

  @Test("6.7 PING is answered with its own bytes, an answer is not answered")
  func ping() {
    let peer = Peer()
    peer.send(Peer.ping, 0, Array(1...8))
    peer.send(Peer.ping, Peer.acknowledged, Array(1...8))
    #expect(peer.frames() == [Peer.Frame(type: Peer.ping, flags: 1, stream: 0, payload: Array(1...8))])
  }

  @Test(
    "4.1 and 5.5 what is unknown is ignored: types, flags, the reserved bit",
    arguments: [
      Peer.frame(0x20, 0xff, stream: 0, [1, 2, 3]), Peer.frame(0xfe, 0, stream: 7),
      Peer.frame(Peer.ping, 0xfe, stream: 1 << 31, Array(1...8)),
      Peer.frame(Peer.priority, 0, stream: 9, [0, 0, 0, 0, 1]),
      Peer.frame(Peer.priorityUpdate, 0, stream: 0, Peer.word(5) + Array("u=1".utf8)),
    ])
  func ignored(frame: [UInt8]) {
    let peer = Peer()
    peer.send(raw: frame)
    peer.request(11)
    #expect(peer.connection.closure == nil && peer.streams.count == 1)
  }

  @Test("6.2 padding and the old priority are taken off HEADERS, and blocks go on in CONTINUATION")
  func fragments() throws {
    let peer = Peer()
    let block = Peer.block(Peer.get)
    peer.send(Peer.headers, 0x29, stream: 1, [2, 0x80, 0, 0, 0, 7] + block.prefix(10) + [0, 0])
    peer.send(Peer.continuation, 0, stream: 1, Array(block[10..<11]))
    peer.send(Peer.continuation, 0, stream: 1)
    #expect(peer.streams.isEmpty)
    peer.send(Peer.continuation, Peer.endHeaders, stream: 1, Array(block[11...]))
    #expect(peer.read(try #require(peer.streams.first)) == "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
  }

  @Test("A connection is the same however its bytes are cut", arguments: [1, 2, 3, 7, 9, 10, 64])
  func anySplit(step: Int) throws {
    let peer = Peer(isReady: false)
    var bytes = Peer.preface + Peer.frame(4, 0, Peer.setting(4, 70_000))
    bytes += Peer.frame(1, 4, stream: 1, Peer.block(Peer.post + [("content-length", "11")]))
    bytes += Peer.frame(0, 8, stream: 1, [3] + Array("hello ".utf8) + [0, 0, 0]) + Peer.frame(0x99, 0, stream: 1, [1])
    bytes += Peer.frame(0, 1, stream: 1, Array("world".utf8)) + Peer.frame(1, 5, stream: 3, Peer.block(Peer.get))
    for start in stride(from: 0, to: bytes.count, by: step) {
      peer.send(raw: Array(bytes[start..<min(start + step, bytes.count)]))
    }
    #expect(peer.connection.closure == nil && peer.streams.count == 2)
    let text = peer.read(peer.streams[0])
    #expect(text == "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 11\r\n\r\nhello world")
  }
}
