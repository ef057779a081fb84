import Core
import HTTP
import Testing

/// Bytes of an allocation; the C library's, whose header Swift's module of it leaves out.
@_silgen_name("malloc_usable_size")
private func allocatedBytes(_ memory: UnsafeRawPointer) -> Int

/// RFC 9113 section 10.5 and the attacks that are known: each has a limit with a name, and costs little until it is hit.
@Suite("HTTP/2 limits")
struct HTTP2LimitTests {
  typealias Peer = HTTP2Peer

  /// Sends `bytes` again and again; the result is how often until the connection had enough.
  private func endure(_ peer: Peer, most: Int = 100_000, _ bytes: (Int) -> [UInt8]) -> Int {
    for count in 0..<most {
      if peer.connection.closure != nil { return count }
      peer.send(raw: bytes(count))
    }
    return most
  }

  private func expect(_ peer: Peer, _ limit: HTTP2Limit, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(
      peer.connection.closure == HTTP2Closure(code: .enhanceYourCalm, limit: limit), sourceLocation: sourceLocation)
    #expect(peer.workspace.count(of: limit) == 1, sourceLocation: sourceLocation)
    let last = try #require(peer.frames().last, sourceLocation: sourceLocation)
    #expect(last.type == Peer.goAway && last.word(4) == 11, sourceLocation: sourceLocation)
  }

  @Test("Every limit has a label of its own")
  func labels() {
    #expect(Set(HTTP2Limit.allCases.map { "\($0.label)" }).count == HTTP2Limit.allCases.count)
  }

  @Test("rapid-reset: streams reset in the packet that opened them are never seen, and soon there are no more of them")
  func rapidReset() throws {
    let peer = Peer()
    let block = Peer.block(Peer.get)
    let count = endure(peer) { index in
      let id = UInt32(index * 2 + 1)
      return Peer.frame(1, Peer.whole, stream: id, block) + Peer.frame(3, 0, stream: id, Peer.word(8))
    }
    #expect(count == 201 && peer.streams.isEmpty)
    try expect(peer, .rapidReset)
  }

  @Test("rapid-reset: streams that the peer makes us reset count alike")
  func madeReset() throws {
    let peer = Peer()
    let block = Peer.block(Peer.post)
    let count = endure(peer) { index in
      let id = UInt32(index * 2 + 1)
      return Peer.frame(1, 4, stream: id, block) + Peer.frame(8, 0, stream: id, Peer.word(0))
    }
    #expect(count == 201)
    try expect(peer, .rapidReset)
  }

  @Test("rapid-reset: so do malformed requests, and those beyond the limit of streams", arguments: [true, false])
  func refused(isMalformed: Bool) throws {
    let peer = Peer { $0.concurrentStreams = 1 }
    if !isMalformed { peer.request(1) }
    let block = Peer.block(isMalformed ? [(":method", "GET")] : Peer.get)
    let count = endure(peer) { Peer.frame(1, Peer.whole, stream: UInt32($0 * 2 + 3), block) }
    #expect(count == 201)
    try expect(peer, .rapidReset)
  }

  @Test("rapid-reset: a client that cancels now and then, or as often as it is served, goes on for ever")
  func honestResets() {
    let slow = Peer()
    for index in 0..<2_000 {
      slow.request(UInt32(index * 2 + 1), Peer.get)
      slow.send(Peer.resetStream, 0, stream: UInt32(index * 2 + 1), Peer.word(8))
      slow.connection.close(slow.streams[index], reset: true)
      slow.pass(.milliseconds(50))
    }
    #expect(slow.connection.closure == nil)
    let fair = Peer()
    for index in 0..<2_000 {
      let id = UInt32(index * 4 + 1)
      fair.request(id, Peer.get)
      fair.send(Peer.resetStream, 0, stream: id, Peer.word(8))
      fair.request(id + 2, Peer.get)
      fair.write(fair.streams[index * 2 + 1], "HTTP/1.1 204 No Content\r\n\r\n")
      _ = fair.frames()
      for stream in fair.streams.suffix(2) { fair.connection.close(stream, reset: false) }
    }
    #expect(fair.connection.closure == nil && fair.connection.openStreams == 0)
  }

  @Test("continuation-flood: by frames, and by bytes", arguments: [0, 1, 16_384])
  func continuationFlood(size: Int) throws {
    let peer = Peer()
    peer.send(Peer.headers, 1, stream: 1, [0x82])
    let count = endure(peer) { _ in Peer.frame(9, 0, stream: 1, [UInt8](repeating: 0x82, count: size)) }
    #expect(count == (size == 16_384 ? 4 : 17))
    try expect(peer, .continuationFlood)
  }

  @Test(
    "Floods of frames that must be answered or remembered",
    arguments: [
      ("settings", Peer.frame(4, 0), .settingsFlood, 20), ("acknowledgements", Peer.frame(4, 1), .settingsFlood, 20),
      ("ping", Peer.frame(6, 0, [1, 2, 3, 4, 5, 6, 7, 8]), .pingFlood, 100),
      ("unasked answers", Peer.frame(6, 1, [1, 2, 3, 4, 5, 6, 7, 8]), .pingFlood, 100),
      ("windows", Peer.frame(8, 0, Peer.word(1)), .windowUpdateFlood, 2_000),
      ("priorities", Peer.frame(2, 0, stream: 9, [0, 0, 0, 0, 1]), .idleFrames, 500),
      ("priority updates", Peer.frame(16, 0, Peer.word(9)), .idleFrames, 500),
      ("farewells", Peer.frame(7, 0, Peer.word(0) + Peer.word(0)), .idleFrames, 500),
      ("unknown frames", Peer.frame(0x55, 0, stream: 9, [1]), .idleFrames, 500),
    ] as [(String, [UInt8], HTTP2Limit, Int)])
  func floods(name: String, frame: [UInt8], limit: HTTP2Limit, most: Int) throws {
    let peer = Peer()
    let count = endure(peer) { _ in frame }
    #expect(count >= most - 2 && count <= most + 1)
    try expect(peer, limit)
    // At a rate that makes sense it may go on for ever.
    let patient = Peer()
    for _ in 0..<most * 3 {
      patient.send(raw: frame)
      _ = patient.frames()
      patient.pass(.seconds(1))
    }
    #expect(patient.connection.closure == nil)
  }

  @Test("idle-frames: fields for a stream that is gone are read once or twice, not for ever")
  func lateFields() throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    peer.connection.close(peer.streams[0], reset: true)
    _ = peer.frames()
    #expect(endure(peer) { _ in Peer.frame(1, 5, stream: 1, [0x82]) } == 505)
    try expect(peer, .idleFrames)
  }

  @Test("empty-frames and tiny-frames", arguments: [0, 1, 63])
  func smallData(size: Int) throws {
    let peer = Peer { $0.tinyFrames = HTTP2Rate(burst: 500, perSecond: 10) }
    peer.request(1, Peer.post, 4)
    let count = endure(peer) { _ in
      _ = peer.read(peer.streams[0])
      return Peer.frame(0, 8, stream: 1, [3] + [UInt8](repeating: 97, count: size) + [0, 0, 0])
    }
    #expect(count == (size == 0 ? 101 : 501))
    try expect(peer, size == 0 ? .emptyFrames : .tinyFrames)
  }

  @Test("tiny-frames are counted of clients only: each small message of a gRPC server is one")
  func smallMessages() throws {
    let peer = Peer(.client) { $0.tinyFrames = HTTP2Rate(burst: 10, perSecond: 0) }
    let stream = try #require(peer.connection.open())
    peer.write(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    peer.send(Peer.headers, Peer.endHeaders, stream: 1, [0x88])
    for _ in 0..<1_000 { peer.send(Peer.data, 0, stream: 1, [0, 0, 0, 0, 0]) }
    #expect(peer.connection.closure == nil && peer.workspace.exceededCount == 0)
  }

  @Test("window-update-flood: a client that reads what it is sent may say so as often as it likes")
  func honestUpdates() throws {
    let peer = Peer { $0.windowUpdates = HTTP2Rate(burst: 10, perSecond: 0) }
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    let part = String(repeating: "x", count: 1_000)
    for _ in 0..<1_000 {
      peer.write(stream, part)
      let count = peer.frames().reduce(0) { $0 + ($1.type == 0 ? $1.payload.count : 0) }
      if count == 0 { continue }
      for _ in 0..<4 { peer.send(8, 0, Peer.word(UInt32(count / 4))) }
      peer.send(8, 0, stream: 1, Peer.word(UInt32(count)))
    }
    #expect(peer.connection.closure == nil)
  }

  @Test(
    "header-list-bytes and field-count: the request is answered with 431, the connection goes on",
    arguments: [true, false])
  func tooLarge(byBytes: Bool) {
    let peer = Peer { $0.fields = byBytes ? HPACKLimits(listBytes: 300) : HPACKLimits(fieldCount: 6) }
    let fields = (0..<8).map { ("x-\($0)", "y") }
    peer.request(1, Peer.get + fields)
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.headers] && peer.fields(frames[0]) == [":status: 431"])
    #expect(peer.streams.isEmpty && peer.workspace.count(of: byBytes ? .headerListBytes : .fieldCount) == 1)
    peer.request(3, Peer.post + fields, Peer.endHeaders)
    #expect(peer.frames().map(\.type) == [Peer.headers, Peer.resetStream])
    peer.request(5)
    #expect(peer.streams.count == 1 && peer.connection.closure == nil)
  }

  @Test("hpack-bomb: a small block that unpacks to much ends the connection before it is unpacked")
  func bomb() throws {
    let peer = Peer()
    let entry: [UInt8] = [0x40, 1, 0x78, 0x7f, 0xa1, 0x1e] + [UInt8](repeating: 97, count: 4_000)
    peer.send(Peer.headers, Peer.whole, stream: 1, Peer.block(Peer.get) + entry)
    #expect(peer.streams.count == 1)
    peer.send(Peer.headers, Peer.whole, stream: 3, [UInt8](repeating: 0xbe, count: 16_000))
    try expect(peer, .hpackBomb)
    #expect(peer.streams.count == 1)
  }

  @Test("control-queue: answers that nobody reads are bounded")
  func controlQueue() {
    let peer = Peer {
      $0.pings = HTTP2Rate(burst: 1_000_000, perSecond: 0)
      $0.outputBytes = 1_000
      $0.controlBytes = 1_000
    }
    let count = endure(peer) { _ in Peer.frame(6, 0, [1, 2, 3, 4, 5, 6, 7, 8]) }
    #expect(count == 2_000 / 17 + 1 && peer.connection.output.count < 2_100)
    #expect(peer.connection.closure == HTTP2Closure(code: .enhanceYourCalm, limit: .controlQueue))
  }

  @Test("stream-stall: a stream without a window is given up, the connection is not")
  func streamStall() throws {
    let peer = Peer()
    peer.send(Peer.settings, 0, Peer.setting(4, 0))
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.pass(.seconds(5))
    _ = peer.read(stream)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    _ = peer.frames()
    #expect(stream.stalledSince == peer.workspace.now && peer.connection.stalledSince == .never)
    #expect(peer.connection.deadline == peer.workspace.now + .seconds(30))
    peer.pass(.seconds(29))
    peer.connection.checkTime()
    #expect(peer.takeEvents(stream).contains(.broken) == false && peer.standing(stream) == .wouldBlock)
    peer.pass(.seconds(1))
    peer.connection.checkTime()
    #expect(peer.standing(stream) == .failed(.reset) && peer.connection.closure == nil)
    _ = peer.frames()
    #expect(peer.workspace.count(of: .streamStall) == 1 && peer.connection.deadline == .never)
  }

  @Test(
    "connection-stall: a connection without a window is given up, unless it opens in time", arguments: [true, false])
  func connectionStall(opens: Bool) throws {
    let peer = Peer()
    peer.send(Peer.settings, 0, Peer.setting(4, 1_000_000))
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + String(repeating: "x", count: 32_768))
    peer.write(stream, String(repeating: "x", count: 32_768))
    peer.write(stream, String(repeating: "x", count: 1_000))
    _ = peer.frames()
    #expect(peer.connection.stalledSince == peer.workspace.now)
    peer.pass(.seconds(29))
    if opens { peer.send(Peer.windowUpdate, 0, Peer.word(100_000)) }
    peer.pass(.seconds(1))
    peer.connection.checkTime()
    if opens { #expect(peer.connection.closure == nil) } else { try expect(peer, .connectionStall) }
  }

  @Test("connection-stall: so is one whose transport takes nothing, unless some of it goes out in time")
  func outputStall() throws {
    let peer = Peer()
    #expect(peer.connection.deadline == .never)
    peer.request(1)
    peer.write(try #require(peer.streams.first), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    let begin = peer.workspace.now
    #expect(peer.connection.deadline == begin + .seconds(30))
    peer.pass(.seconds(20))
    peer.send(Peer.ping, 0, [1, 2, 3, 4, 5, 6, 7, 8])
    peer.connection.sent(0)
    #expect(peer.connection.deadline == begin + .seconds(30))
    peer.connection.sent(1)
    #expect(peer.connection.deadline == begin + .seconds(50))
    peer.pass(.seconds(29))
    peer.connection.checkTime()
    #expect(peer.connection.closure == nil)
    peer.pass(.seconds(1))
    peer.connection.checkTime()
    #expect(peer.connection.closure == HTTP2Closure(code: .enhanceYourCalm, limit: .connectionStall))
    let taking = Peer()
    taking.request(1)
    taking.write(try #require(taking.streams.first), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    _ = taking.frames()
    #expect(taking.connection.deadline == .never)
  }

  @Test(
    "settings-timeout: a preface that does not come, and SETTINGS that are not acknowledged", arguments: [true, false])
  func settingsTimeout(hasPreface: Bool) {
    let peer = Peer(isReady: false)
    if hasPreface { peer.send(raw: Peer.preface + Peer.frame(4)) }
    peer.pass(.seconds(9))
    peer.connection.checkTime()
    #expect(peer.connection.closure == nil)
    peer.pass(.seconds(1))
    peer.connection.checkTime()
    #expect(peer.connection.closure == HTTP2Closure(code: .settingsTimeout, limit: .settingsTimeout))
  }

  @Test("An idle connection is small, before and after a thousand requests")
  func idle() {
    let peer = Peer()
    #expect(peer.connection.footprint == 0)
    for index in 0..<1_000 {
      peer.request(UInt32(index * 2 + 1))
      peer.write(peer.streams[index], "HTTP/1.1 200 OK\r\nserver: x\r\ncontent-length: 2\r\n\r\nok")
      _ = peer.frames()
      peer.connection.close(peer.streams[index], reset: false)
    }
    #expect(peer.connection.footprint < 1_024 && peer.connection.openStreams == 0)
    peer.connection.shrink()
    #expect(peer.connection.footprint < 300)
    // The object itself, as large as the allocator says, and the encoder's slots.
    let object = unsafe allocatedBytes(Unmanaged.passUnretained(peer.connection).toOpaque())
    #expect(object + 128 + peer.connection.footprint < 2_048, "\(object)")
  }
}
