import Core
import HTTP
import Testing

/// Two connections, one of each role, joined without a network.
final class HTTP2Pair {
  let workspace: HTTP2Workspace
  let client: HTTP2Connection
  let server: HTTP2Connection
  private let toServer = ByteBuffer()
  private let toClient = ByteBuffer()
  /// The streams that the server was told of.
  var served: [HTTP2Stream] = []
  var clientEvents: [(stream: HTTP2Stream, readiness: Readiness)] = []

  init(_ change: (inout HTTP2Options) -> Void = { _ in }) {
    var options = HTTP2Options()
    change(&options)
    var nonce = UInt128(0)
    workspace = HTTP2Workspace { key, target in
      target.append("for-")
      target.append(key)
    } webSocketNonce: {
      nonce &+= 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835
      return nonce
    }
    client = HTTP2Connection(.client, options: options, workspace: workspace)
    server = HTTP2Connection(.server, options: options, workspace: workspace)
    run()
  }

  /// Moves bytes until there are none.
  func run() {
    while !client.output.isEmpty || !server.output.isEmpty {
      Self.move(client, toServer, server)
      Self.move(server, toClient, client)
      while let event = server.nextEvent() { if case .opened(let stream) = event { served.append(stream) } }
      while let event = client.nextEvent() {
        if case .ready(let stream, let readiness) = event { clientEvents.append((stream, readiness)) }
      }
    }
  }

  private static func move(_ from: HTTP2Connection, _ wire: ByteBuffer, _ to: HTTP2Connection) {
    let output = from.output
    wire.append(output.bytes)
    from.sent(output.count)
    to.receive(wire)
  }

  func write(_ connection: HTTP2Connection, _ stream: HTTP2Stream, _ text: String) {
    let bytes = buffer(text)
    while !bytes.isEmpty {
      guard case .count(let count) = connection.write(stream, bytes.bytes) else {
        Issue.record("not taken: \(text.prefix(80))")
        return
      }
      bytes.consume(count)
      run()
    }
  }

  func read(_ connection: HTTP2Connection, _ stream: HTTP2Stream) -> String {
    let found = ByteBuffer()
    while case .count = connection.read(stream, into: found, limit: 4_096) { run() }
    return found.bytes.text
  }

  /// Sends a request, and returns what the server reads of it.
  func ask(_ text: String) throws -> (client: HTTP2Stream, server: HTTP2Stream, text: String) {
    let stream = try #require(client.open())
    write(client, stream, text)
    run()
    let other = try #require(served.last)
    return (stream, other, read(server, other))
  }
}

@Suite("HTTP/2, client and server")
struct HTTP2PairTests {
  @Test(
    "A request arrives as it was sent, but for its framing",
    arguments: [
      ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
      (
        "DELETE /x?y=z HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n",
        "DELETE /x?y=z HTTP/1.1\r\nhost: a:81\r\naccept: */*\r\n\r\n"
      ),
      ("GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nhost: b\r\n\r\n"),
      ("GET http://b?q HTTP/1.1\r\nHost: b\r\n\r\n", "GET /?q HTTP/1.1\r\nhost: b\r\n\r\n"),
      ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
      ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n"),
      ("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
      (
        "POST / HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=d\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncookie: a=b; c=d\r\n\r\nabc"
      ),
      (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"
      ),
    ])
  func requests(sent: String, received: String) throws {
    #expect(try HTTP2Pair().ask(sent).text == received)
  }

  @Test(
    "So does a response",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok"),
      ("HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"),
      ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n"),
      (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 \r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 1\r\n\r\nx"
      ),
      (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n",
        "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ngrpc-status: 0\r\n\r\n"
      ),
    ])
  func responses(sent: String, received: String) throws {
    let pair = HTTP2Pair()
    let exchange = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    pair.write(pair.server, exchange.server, sent)
    #expect(pair.read(pair.client, exchange.client) == received)
    #expect(pair.client.read(exchange.client, into: ByteBuffer(), limit: 64) == .ended)
    #expect(pair.client.openStreams == 0 && pair.server.openStreams == 0)
  }

  @Test("A response to HEAD keeps its length and has no body")
  func head() throws {
    let pair = HTTP2Pair()
    let exchange = try pair.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    pair.write(pair.server, exchange.server, "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n")
    #expect(pair.read(pair.client, exchange.client) == "HTTP/1.1 200 \r\ncontent-length: 70\r\n\r\n")
  }

  @Test("A response without a length ends where its writer closes")
  func untilClose() throws {
    let pair = HTTP2Pair()
    let exchange = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    pair.write(pair.server, exchange.server, "HTTP/1.1 200 OK\r\n\r\nall of it")
    pair.server.close(exchange.server, reset: false)
    pair.run()
    let text = pair.read(pair.client, exchange.client)
    #expect(text == "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n")
  }

  @Test("A WebSocket goes through both, with the key and its answer on each HTTP/1.1 side")
  func webSocket() throws {
    let pair = HTTP2Pair()
    #expect(pair.client.allowsExtendedConnect)
    let exchange = try pair.ask(
      "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key\r\n"
        + "Sec-WebSocket-Version: 13\r\n\r\n")
    #expect(
      exchange.text.hasPrefix("GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\n"))
    let key = try #require(Self.webSocketKey(exchange.text))
    pair.write(
      pair.server, exchange.server,
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + "Sec-WebSocket-Accept: for-\(key)\r\n\r\nhi")
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    #expect(pair.read(pair.client, exchange.client) == head + "sec-websocket-accept: for-key\r\n\r\nhi")
    pair.write(pair.client, exchange.client, "frames")
    #expect(pair.read(pair.server, exchange.server) == "frames")
    pair.client.endSending(exchange.client)
    pair.server.endSending(exchange.server)
    pair.run()
    #expect(pair.client.read(exchange.client, into: ByteBuffer(), limit: 64) == .ended)
    #expect(pair.client.openStreams == 0 && pair.server.openStreams == 0)
  }

  /// The key in the head of a request.
  private static func webSocketKey(_ head: String) -> Substring? {
    head.firstMatch(of: /\r\nsec-websocket-key: ([^\r]*)\r\n/)?.output.1
  }

  @Test("Each WebSocket of a client of HTTP/2 gets a key of its own: sixteen bytes as Base64")
  func webSocketKeys() throws {
    let pair = HTTP2Pair()
    var keys: Set<Substring> = []
    for _ in 0..<20 {
      let text = try pair.ask(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key\r\n\r\n"
      ).text
      let key = try #require(Self.webSocketKey(text))
      #expect(key.wholeMatch(of: /[A-Za-z0-9+\/]{21}[AQgw]==/) != nil, "\(key)")
      keys.insert(key)
    }
    #expect(keys.count == 20)
  }

  @Test("Large bodies cross in both directions at once, through many windows")
  func largeBodies() throws {
    let pair = HTTP2Pair { $0.outputBytes = 30_000 }
    let size = 1_000_000
    let stream = try #require(pair.client.open())
    let request = buffer(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n" + String(repeating: "q", count: size))
    let response = buffer("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n" + String(repeating: "r", count: size))
    let (asked, answered) = (ByteBuffer(), ByteBuffer())
    for _ in 0..<10_000 where asked.count <= size + 50 || answered.count <= size + 30 {
      if case .count(let count) = pair.client.write(stream, request.bytes) { request.consume(count) }
      pair.run()
      guard let other = pair.served.first else { continue }
      _ = pair.server.read(other, into: asked, limit: 10_000)
      if !response.isEmpty, case .count(let count) = pair.server.write(other, response.bytes) {
        response.consume(count)
      }
      _ = pair.client.read(stream, into: answered, limit: 10_000)
      pair.run()
    }
    #expect(asked.count > size && answered.count > size)
    #expect(request.isEmpty && response.isEmpty)
    #expect(asked[asked.count - 1] == 113 && answered[answered.count - 1] == 114)
  }

  @Test("A client opens no more streams than its upstream takes, and more again once some are done")
  func available() throws {
    let pair = HTTP2Pair { $0.concurrentStreams = 3 }
    #expect(pair.client.availableStreams == 3)
    let first = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let unused = try #require(pair.client.open())
    #expect(pair.client.availableStreams == 1)
    pair.client.close(unused, reset: false)
    #expect(pair.client.availableStreams == 2)
    pair.write(pair.server, first.server, "HTTP/1.1 204 No Content\r\n\r\n")
    #expect(pair.client.availableStreams == 3)
  }

  @Test("No more streams are opened than a connection may have in all its life")
  func totalStreams() throws {
    let pair = HTTP2Pair { $0.totalStreams = 3 }
    let first = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(pair.client.availableStreams == 2)
    let unused = try #require(pair.client.open())
    #expect(pair.client.availableStreams == 1)
    pair.client.close(unused, reset: true)
    #expect(pair.client.availableStreams == 2, "one that has not begun takes no place")
    pair.write(pair.server, first.server, "HTTP/1.1 204 No Content\r\n\r\n")
    for left in [1, 0] {
      _ = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(pair.client.availableStreams == left)
    }
    #expect(pair.client.open() == nil)
  }

  @Test("After GOAWAY, requests that were not taken say that they can be sent again, others go on")
  func goAway() throws {
    let pair = HTTP2Pair()
    let first = try pair.ask("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    let unused = try #require(pair.client.open())
    pair.server.finishDrain()
    let late = try #require(pair.client.open())
    let text = buffer("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(pair.client.write(late, text.bytes) == .count(text.count))
    pair.run()
    #expect(late.isUnprocessed && pair.client.read(late, into: ByteBuffer(), limit: 64) == .failed(.reset))
    #expect(pair.clientEvents.contains { $0.stream === late && $0.readiness.contains(.broken) })
    #expect(pair.client.availableStreams == 0 && !first.client.isUnprocessed)
    #expect(pair.client.write(unused, text.bytes) == .failed(.reset) && unused.isUnprocessed && !unused.isInexpressible)
    pair.write(pair.server, first.server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    #expect(pair.read(pair.client, first.client).hasSuffix("ok"))
    pair.server.close(first.server, reset: false)
    #expect(pair.server.isDrained)
  }

  @Test("A client that loses interest cancels, and the server is told")
  func cancel() throws {
    let pair = HTTP2Pair()
    let exchange = try pair.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    pair.client.close(exchange.client, reset: true)
    pair.run()
    #expect(pair.server.read(exchange.server, into: ByteBuffer(), limit: 64) == .failed(.reset))
    #expect(pair.client.openStreams == 0 && pair.server.openStreams == 0)
  }

  @Test("When the transport is gone, every stream breaks, those without a request as well")
  func transportEnded() throws {
    let pair = HTTP2Pair()
    let exchange = try pair.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let unused = try #require(pair.client.open())
    pair.client.transportEnded()
    var broken: [ObjectIdentifier] = []
    while let event = pair.client.nextEvent() {
      if case .ready(let stream, let readiness) = event, readiness.contains(.broken) {
        broken.append(ObjectIdentifier(stream))
      }
    }
    #expect(broken.count == 2 && broken.contains(ObjectIdentifier(unused)))
    #expect(unused.isUnprocessed && !exchange.client.isUnprocessed)
    #expect(pair.client.write(exchange.client, buffer("x").bytes) == .failed(.reset))
    #expect(pair.client.open() == nil)
  }

  @Test(
    "What is no request, or cannot be one in HTTP/2, breaks the stream before the upstream sees it",
    arguments: [
      "GET / HTTP/1.1\r\nA : b\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n",
    ])
  func malformed(text: String) throws {
    let pair = HTTP2Pair()
    let stream = try #require(pair.client.open())
    #expect(pair.client.write(stream, buffer(text).bytes) == .failed(.reset))
    #expect(pair.client.lastStreamFault == .malformedOutgoingMessage && pair.client.openStreams == 0)
    #expect(!stream.isUnprocessed && stream.isInexpressible)
    pair.run()
    #expect(pair.served.isEmpty && pair.server.closure == nil)
  }

  @Test("Secrets in either direction are never indexed, repeated fields are")
  func fieldsOnTheWire() throws {
    let pair = HTTP2Pair()
    let text =
      "GET /a/long/path HTTP/1.1\r\nHost: example.com\r\nUser-Agent: tests\r\nAuthorization: Bearer abc\r\n\r\n"
    var sizes: [Int] = []
    for _ in 0..<4 {
      let stream = try #require(pair.client.open())
      #expect(pair.client.write(stream, buffer(text).bytes) == .count(text.utf8.count))
      sizes.append(pair.client.output.count)
      pair.run()
    }
    // The frame's header, five indexed fields, and the secret.
    #expect(sizes[3] == 9 + 5 + 3 + 10 && sizes[0] > 60)
  }
}
