import Core
import HTTP
import Testing

/// RFC 9113 section 5.1: what was on its way when a stream was reset is no fault of whoever sent it.
@Suite("HTTP/2 frames for streams that were reset")
struct HTTP2LateFrameTests {
  typealias Peer = HTTP2Peer

  private static let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  private func ask(_ peer: Peer) throws -> HTTP2Stream {
    let stream = try #require(peer.connection.open())
    #expect(peer.write(stream, Self.request) == .count(Self.request.utf8.count))
    return stream
  }

  @Test("Whole responses to streams that we cancelled, however many, leave the others of the connection alone")
  func cancelledByClient() throws {
    let peer = Peer(.client)
    let survivor = try ask(peer)
    let part = [UInt8](repeating: 97, count: 300)
    for _ in 0..<10 {
      let cancelled = try (0..<127).map { _ in try ask(peer) }
      let ids = cancelled.map(\.id)
      for stream in cancelled { peer.connection.close(stream, reset: true) }
      _ = peer.frames()
      for id in ids {
        peer.send(Peer.headers, Peer.endHeaders, stream: id, [0x88])
        peer.send(Peer.data, 0, stream: id, part)
        peer.send(Peer.data, 0, stream: id, [1])
        peer.send(Peer.headers, Peer.whole, stream: id, Peer.block([("grpc-status", "0")]))
      }
      #expect(peer.connection.closure == nil)
    }
    peer.send(Peer.headers, Peer.whole, stream: survivor.id, [0x88])
    #expect(peer.read(survivor) == "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n")
    #expect(peer.workspace.exceededCount == 0)
  }

  @Test("Uploads that were answered early may send the rest of their windows, and opens the connection's again")
  func answeredEarly() throws {
    let peer = Peer()
    var next: UInt32 = 1
    for _ in 0..<4 {
      let ids = (0..<128).map { next + UInt32($0) * 2 }
      next += 256
      for id in ids {
        peer.request(id, Peer.post, Peer.endHeaders)
        let stream = try #require(peer.streams.last)
        peer.write(stream, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        peer.connection.close(stream, reset: false)
      }
      #expect(peer.frames().count { $0.type == Peer.resetStream } == 128)
      for flags in [0, 0, 0, Peer.endStream] {
        for id in ids { peer.send(Peer.data, flags, stream: id, [UInt8](repeating: 0, count: 2_000)) }
      }
      let credit = peer.frames().filter { $0.type == Peer.windowUpdate && $0.stream == 0 }
      #expect(credit.reduce(0) { $0 + $1.word() } > 500_000)
    }
    #expect(peer.connection.closure == nil && peer.workspace.exceededCount == 0)
  }

  @Test("Fields that are dropped still change the table of the decoder")
  func table() throws {
    let peer = Peer(.client)
    let streams = try (0..<40).map { _ in try ask(peer) }
    let (first, last) = (streams[0].id, streams[39])
    for stream in streams.dropLast() { peer.connection.close(stream, reset: true) }
    peer.send(Peer.headers, Peer.whole, stream: first, [0x88, 0x40, 1, 120, 1, 121])
    peer.send(Peer.headers, Peer.whole, stream: last.id, [0x88, 0xbe])
    #expect(peer.read(last) == "HTTP/1.1 200 \r\nx: y\r\ncontent-length: 0\r\n\r\n")
  }

  @Test("A stream that ended well is closed for good, whatever was reset before it")
  func endedWell() {
    let peer = Peer()
    for index in 0..<101 {
      peer.request(UInt32(index * 2 + 1), Peer.get)
      peer.write(peer.streams[index], "HTTP/1.1 204 No Content\r\n\r\n")
      peer.connection.close(peer.streams[index], reset: index < 50)
    }
    peer.send(Peer.headers, Peer.whole, stream: 201, [0x82])
    #expect(peer.connection.closure?.fault == .headersOnClosedStream)
  }

  @Test("idle-frames: an upstream that sends fields for ever on a stream that is gone is left", arguments: [1, 100])
  func bound(streams: Int) throws {
    let peer = Peer(.client)
    let cancelled = try (0..<streams).map { _ in try ask(peer) }
    for stream in cancelled { peer.connection.close(stream, reset: true) }
    _ = peer.frames()
    var count = 0
    while peer.connection.closure == nil && count < 10_000 {
      peer.send(Peer.headers, Peer.whole, stream: 1, [0x88])
      count += 1
    }
    #expect(count == 501 + 4 * streams && peer.connection.closure?.limit == .idleFrames)
  }

  @Test("rapid-reset is for clients: an upstream whose responses are malformed loses those streams only")
  func malformedResponses() throws {
    let peer = Peer(.client)
    for _ in 0..<1_000 {
      let stream = try ask(peer)
      peer.send(Peer.headers, Peer.whole, stream: stream.id, Peer.block([("x", "y")]))
      #expect(peer.standing(stream) == .failed(.reset))
      peer.connection.close(stream, reset: true)
      _ = peer.frames()
    }
    #expect(peer.connection.closure == nil && peer.workspace.count(of: .streamFault) == 1_000)
  }
}
