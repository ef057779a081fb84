import Core
import HTTP
import Testing

/// RFC 9113 section 5 and RFC 9218: states of streams, windows, order, and the end of a connection.
@Suite("HTTP/2 streams (RFC 9113 section 5, RFC 9218)")
struct HTTP2StreamTests {
  typealias Peer = HTTP2Peer

  static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

  @Test("A request and its response, and both sides know that it is over")
  func exchange() throws {
    let peer = Peer()
    peer.request(1)
    let stream = try #require(peer.streams.first)
    #expect(peer.read(stream) == "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
    #expect(peer.standing(stream) == .wouldBlock)
    #expect(peer.write(stream, Self.ok) == .count(Self.ok.utf8.count))
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.headers, Peer.data] && frames.map(\.flags) == [4, 1])
    #expect(peer.fields(frames[0]) == [":status: 200", "content-length: 2"])
    #expect(peer.takeEvents(stream).contains([.readable, .peerEnded]) && peer.standing(stream) == .ended)
    #expect(peer.connection.openStreams == 0)
    peer.connection.close(stream, reset: false)
    #expect(peer.frames() == [])
  }

  @Test("5.1 frames for a stream that we reset are taken as late, its fields change the decoder all the same")
  func late() throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    peer.connection.close(try #require(peer.streams.first), reset: true)
    #expect(peer.frames().map(\.type) == [Peer.resetStream])
    peer.send(Peer.data, 0, stream: 1, [1, 2, 3])
    peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(5))
    peer.send(Peer.resetStream, 0, stream: 1, Peer.word(8))
    peer.send(Peer.headers, Peer.whole, stream: 1, [0x40, 1, 0x78, 1, 0x79])
    #expect(peer.frames() == [] && peer.connection.closure == nil)
    peer.send(Peer.headers, Peer.whole, stream: 3, Peer.block(Peer.get) + [0xbe])
    #expect(peer.read(peer.streams[1]).hasSuffix("x: y\r\n\r\n"))
  }

  @Test("5.1 frames for a stream that ended well are refused")
  func closed() throws {
    let peer = Peer()
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, Self.ok)
    peer.connection.close(stream, reset: false)
    _ = peer.frames()
    peer.send(Peer.data, 0, stream: 1, [1])
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.resetStream] && frames[0].word() == HTTP2ErrorCode.streamClosed.rawValue)
    peer.send(Peer.headers, Peer.whole, stream: 5, Peer.block(Peer.get))
    peer.send(Peer.headers, Peer.whole, stream: 3, Peer.block(Peer.get))
    #expect(peer.connection.closure == HTTP2Closure(code: .streamClosed, fault: .headersOnClosedStream))
  }

  @Test("5.1.2 streams beyond the announced count are refused, and nobody is told of them")
  func concurrency() {
    let peer = Peer { $0.concurrentStreams = 2 }
    for id: UInt32 in [1, 3, 5] { peer.request(id) }
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.resetStream] && frames[0].stream == 5)
    #expect(frames[0].word() == HTTP2ErrorCode.refusedStream.rawValue && peer.streams.count == 2)
    peer.write(peer.streams[0], Self.ok)
    peer.request(7)
    #expect(peer.streams.count == 3)
  }

  @Test("Streams are told apart whatever their identifiers and however long they live", arguments: [1, 2, 3, 4])
  func table(seed: UInt64) {
    let peer = Peer()
    var state = seed
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var open: [(id: UInt32, stream: HTTP2Stream)] = []
    var id: UInt32 = 1
    for _ in 0..<600 {
      if open.count < 40 && next(3) > 0 {
        peer.request(id, Peer.post + [("content-length", "4"), ("x-id", "\(id)")], Peer.endHeaders)
        open.append((id, peer.streams[peer.streams.count - 1]))
        #expect(peer.read(open[open.count - 1].stream).contains("x-id: \(id)\r\n"))
        // Gaps of powers of two, which share a slot in any table.
        id += [2, 16, 32, 64][next(4)]
      } else if !open.isEmpty {
        let (id, stream) = open.remove(at: next(open.count))
        let body = Array("\(id % 9_000 + 1_000)".utf8)
        peer.send(Peer.data, Peer.endStream, stream: id, body)
        #expect(peer.read(stream) == String(decoding: body, as: UTF8.self))
        peer.write(stream, Self.ok)
        peer.connection.close(stream, reset: false)
        #expect(peer.frames().last?.stream == id)
      }
      #expect(peer.connection.openStreams == open.count)
    }
    #expect(peer.connection.closure == nil && peer.connection.lastStreamFault == nil)
  }

  // MARK: - Windows

  @Test("5.2 windows are opened as the owner reads, not before")
  func receiveWindows() throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    for _ in 0..<3 { peer.send(Peer.data, 0, stream: 1, [UInt8](repeating: 97, count: 16_384)) }
    #expect(peer.frames() == [])
    #expect(peer.read(stream).utf8.count > 3 * 16_384)
    let updates = peer.frames()
    #expect(updates.map(\.stream) == [1] && updates.reduce(0) { $0 + $1.word() } >= 16_384)
  }

  @Test("6.9 a peer that sends beyond a stream's window loses the stream, beyond the connection's window all")
  func overrun() {
    let peer = Peer { $0.connectionWindowBytes = 100_000 }
    peer.request(1, Peer.post, Peer.endHeaders)
    peer.request(3, Peer.post, Peer.endHeaders)
    for _ in 0..<4 { peer.send(Peer.data, 0, stream: 1, [UInt8](repeating: 97, count: 16_383)) }
    #expect(peer.connection.lastStreamFault == nil)
    peer.send(Peer.data, 0, stream: 1, [1, 2, 3, 4])
    #expect(peer.connection.lastStreamFault == .streamWindowExceeded)
    // What the lost stream held counts as read.
    for _ in 0..<3 { peer.send(Peer.data, 0, stream: 3, [UInt8](repeating: 97, count: 16_384)) }
    #expect(peer.connection.closure == nil)
    for _ in 0..<3 { peer.send(Peer.data, 0, stream: 1, [UInt8](repeating: 97, count: 16_384)) }
    #expect(peer.connection.closure == nil)
    let small = Peer { $0.connectionWindowBytes = 65_535 }
    for id: UInt32 in [1, 3] { small.request(id, Peer.post, Peer.endHeaders) }
    for _ in 0..<2 {
      for id: UInt32 in [1, 3] { small.send(Peer.data, 0, stream: id, [UInt8](repeating: 97, count: 16_384)) }
    }
    #expect(small.connection.closure == HTTP2Closure(code: .flowControlError, fault: .connectionWindowExceeded))
  }

  @Test("6.9 what nobody holds opens the connection's window again even where a stream holds most of it")
  func notStarved() {
    let peer = Peer { $0.connectionWindowBytes = 65_535 }
    peer.request(1, Peer.post, Peer.endHeaders)
    peer.request(3, Peer.post, Peer.endHeaders)
    for _ in 0..<3 { peer.send(Peer.data, 0, stream: 1, [UInt8](repeating: 97, count: 16_384)) }
    var window = 65_535 - 3 * 16_384
    for _ in 0..<50 {
      let count = min(window, 16_384)
      peer.send(Peer.data, 0, stream: 3, [UInt8](repeating: 97, count: count))
      _ = peer.read(peer.streams[1])
      window -= count
      window += peer.frames().filter { $0.stream == 0 }.reduce(0) { $0 + Int($1.word()) }
      #expect(window > 0)
    }
  }

  @Test("6.9 padding is paid back at once")
  func padding() {
    let peer = Peer { $0.connectionWindowBytes = 65_535 }
    peer.request(1, Peer.post, Peer.endHeaders)
    for _ in 0..<1_000 {
      peer.send(Peer.data, Peer.padded, stream: 1, [255, 97] + [UInt8](repeating: 0, count: 255))
    }
    #expect(peer.connection.closure == nil && peer.connection.lastStreamFault == nil)
  }

  @Test("6.9.2 a smaller initial window can make a stream's negative, and a larger one opens it")
  func initialWindow() throws {
    let peer = Peer()
    peer.send(Peer.settings, 0, Peer.setting(4, 10))
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n" + String(repeating: "a", count: 30))
    #expect(peer.frames().filter { $0.type == Peer.data }.map(\.payload.count) == [10])
    peer.send(Peer.settings, 0, Peer.setting(4, 4))
    peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(6))
    #expect(peer.frames().filter { $0.type == Peer.data } == [])
    peer.send(Peer.settings, 0, Peer.setting(4, 9))
    #expect(peer.frames().filter { $0.type == Peer.data }.map(\.payload.count) == [5])
    peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(100))
    let last = peer.frames().filter { $0.type == Peer.data }
    #expect(last.map(\.payload.count) == [15] && last[0].flags == Peer.endStream)
  }

  @Test("A large body goes out as the transport and both windows take it, and the writer is told when to go on")
  func largeBody() throws {
    let peer = Peer { $0.outputBytes = 20_000 }
    peer.request(1)
    let stream = try #require(peer.streams.first)
    let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
    var (offset, received): (Int, [UInt8]) = (0, [])
    var isWritable = true
    for _ in 0..<1_000 where received.count < body.count {
      while isWritable && offset < body.count {
        let part = Array(body[offset...])
        guard case .count(let count) = peer.connection.write(stream, RawSpan(part)) else {
          isWritable = false
          break
        }
        offset += count
        if count < part.count { isWritable = false }
      }
      for frame in peer.frames() where frame.type == Peer.data {
        received += frame.payload
        peer.send(Peer.windowUpdate, 0, Peer.word(UInt32(frame.payload.count)))
        if frame.flags == 0 { peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(UInt32(frame.payload.count))) }
      }
      if peer.takeEvents(stream).contains(.writable) { isWritable = true }
    }
    #expect(received == body && peer.connection.openStreams == 0)
  }

  // MARK: - Order

  /// In which order the bodies of several streams come out once the connection's window opens.
  private func order(_ priorities: [String?], update: [UInt8] = []) -> [UInt32] {
    let peer = Peer()
    for (index, priority) in priorities.enumerated() {
      peer.request(UInt32(index * 2 + 1), Peer.get + (priority.map { [("priority", $0)] } ?? []))
    }
    // One more uses the window up.
    peer.request(99)
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 65535\r\n\r\n" + String(repeating: "x", count: 65_535)
    peer.send(Peer.windowUpdate, 0, stream: 99, Peer.word(100_000))
    peer.write(peer.streams[priorities.count], whole)
    _ = peer.frames()
    let body = String(repeating: "y", count: 30_000)
    for stream in peer.streams.dropLast() {
      peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 30000\r\n\r\n" + body)
    }
    peer.send(raw: update)
    #expect(peer.frames().allSatisfy { $0.type == Peer.headers })
    peer.send(Peer.windowUpdate, 0, Peer.word(1_000_000))
    var found: [UInt32] = []
    for _ in 0..<20 { found += peer.frames().filter { $0.type == Peer.data }.map(\.stream) }
    return found
  }

  @Test("Streams without a word about priority share the connection")
  func shared() { #expect(order([nil, nil, nil]) == [1, 3, 5, 1, 3, 5]) }

  @Test("RFC 9218 section 10: the more urgent first, then whole responses in the order of requests, then in turn")
  func urgency() {
    #expect(order(["u=5", "u=1", "u=3"]) == [3, 3, 5, 5, 1, 1])
    #expect(order(["u=3", "u=3"]) == [1, 1, 3, 3])
    #expect(order(["u=3, i", "i", "u=2;x=1, i=?1"]) == [5, 5, 1, 3, 1, 3])
    #expect(order(["i", "u=3"]) == [3, 3, 1, 1])
    #expect(order(["u=9, i=1", "u=2"]) == [3, 3, 1, 1])
  }

  @Test("RFC 9218 section 7: PRIORITY_UPDATE changes the order of what waits")
  func priorityUpdate() {
    let update = Peer.frame(Peer.priorityUpdate, 0, Peer.word(5) + Array("u=0".utf8))
    #expect(order(["u=1", "u=2", "u=6"], update: update) == [5, 5, 1, 1, 3, 3])
  }

  // MARK: - The end

  @Test("6.8 a drain says so, takes what was on its way, then names the last stream and waits for it")
  func drain() throws {
    let peer = Peer()
    peer.request(1)
    peer.connection.beginDrain()
    let first = peer.frames()
    #expect(first.map(\.type) == [Peer.goAway, Peer.ping] && first[0].word() == 0x7fff_ffff && first[0].word(4) == 0)
    peer.request(3)
    #expect(peer.streams.count == 2)
    peer.send(Peer.ping, Peer.acknowledged, first[1].payload)
    let second = peer.frames()
    #expect(second.map(\.type) == [Peer.goAway] && second[0].word() == 3 && second[0].word(4) == 0)
    peer.request(5)
    peer.send(Peer.data, 0, stream: 5, [1])
    #expect(peer.streams.count == 2 && peer.connection.closure == nil && !peer.connection.isDrained)
    for stream in peer.streams {
      peer.write(stream, Self.ok)
      peer.connection.close(stream, reset: false)
    }
    _ = peer.frames()
    #expect(peer.connection.isDrained)
  }

  @Test("6.8 a drain can be finished by its owner's clock")
  func drainByClock() {
    let peer = Peer()
    peer.connection.beginDrain()
    peer.connection.finishDrain()
    #expect(peer.frames().map(\.type) == [Peer.goAway, Peer.ping, Peer.goAway] && peer.connection.isDrained)
  }

  @Test("8.1 a response that is complete before its request asks the client to stop")
  func early() throws {
    let peer = Peer()
    peer.request(1, Peer.post, Peer.endHeaders)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    #expect(peer.frames().map(\.type) == [Peer.headers])
    peer.connection.close(stream, reset: false)
    let frames = peer.frames()
    #expect(frames.map(\.type) == [Peer.resetStream] && frames[0].word() == 0)
  }

  @Test("An owner that gives up before its response is complete cancels the stream", arguments: [true, false])
  func givenUp(isReset: Bool) throws {
    let peer = Peer()
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    peer.connection.close(stream, reset: isReset)
    let frames = peer.frames()
    #expect(frames.last?.type == Peer.resetStream)
    #expect(frames.last?.word() == (isReset ? HTTP2ErrorCode.cancel : .internalError).rawValue)
  }

  @Test("What was written before its owner left is still sent, and a body without a length ends there")
  func lingering() throws {
    let peer = Peer()
    peer.send(Peer.settings, 0, Peer.setting(4, 3))
    peer.request(1)
    let stream = try #require(peer.streams.first)
    peer.write(stream, "HTTP/1.1 200 OK\r\n\r\nhello")
    peer.connection.close(stream, reset: false)
    #expect(peer.notableFrames().filter { $0.type == Peer.data }.map(\.payload.count) == [3])
    peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(10))
    let frames = peer.notableFrames()
    #expect(frames.map(\.payload) == [Array("lo".utf8)] && frames[0].flags == Peer.endStream)
    #expect(peer.connection.openStreams == 0)
  }

  @Test("5.1.2 an upstream that takes more streams than before lets heads go on that waited for that")
  func raisedStreams() throws {
    let peer = Peer(.client)
    let streams = try (0..<2).map { _ in try #require(peer.connection.open()) }
    peer.send(Peer.settings, 0, Peer.setting(3, 1))
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(peer.write(streams[0], text) == .count(text.utf8.count) && peer.write(streams[1], text) == .wouldBlock)
    _ = peer.frames()
    _ = peer.takeEvents(streams[1])
    #expect(peer.write(streams[1], text) == .wouldBlock)
    peer.send(Peer.settings, 0, Peer.setting(3, 2))
    #expect(peer.takeEvents(streams[1]).contains(.writable))
    #expect(peer.write(streams[1], text) == .count(text.utf8.count))
  }

  @Test("6.5.3 of several initial windows in one frame, streams get the last")
  func repeatedInitialWindow() throws {
    let peer = Peer()
    peer.request(1)
    peer.send(Peer.windowUpdate, 0, stream: 1, Peer.word(100))
    peer.send(Peer.settings, 0, Peer.setting(4, 0x7fff_ffff) + Peer.setting(4, 5) + Peer.setting(4, 3))
    #expect(peer.connection.closure == nil)
    let stream = try #require(peer.streams.first)
    let text = String(repeating: "x", count: 200)
    peer.write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n" + text)
    #expect(peer.notableFrames().map(\.payload.count).last == 103)
    peer.send(Peer.settings, 0, Peer.setting(4, 1) + Peer.setting(4, 0x8000_0000) + Peer.setting(4, 1))
    #expect(peer.connection.closure?.fault == .initialWindowOverflow)
  }
}
