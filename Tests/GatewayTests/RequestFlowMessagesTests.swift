import Core
import Simulation
import Testing

@testable import Gateway

/// What an exchange came to, without what differs from run to run.
private struct Outcome: Equatable {
  var line: String
  var fields: [String: [String]]
  var text: String
  var trailers: [String: [String]]

  init(_ message: WireMessage) {
    line = message.line
    fields = message.fields.filter { !["date", "x-request-id"].contains($0.key) }
    // The decision's name is part of every problem document.
    text = message.status < 400 ? message.text : ""
    if message.status >= 400 { fields["content-length"] = nil }
    trailers = message.trailers
  }
}

@Suite("RequestFlow: messages")
struct RequestFlowMessagesTests {
  /// Every byte travels alone.
  static var crumbs: Conditions {
    var conditions = Conditions.harsh
    conditions.segmentBytes = 1...1
    return conditions
  }

  static let local =
    "{ id: \"local\", match: { path: \"/local\" }, policies: [{ type: \"respond\", body: \"here\" }] },"

  @Test(
    "What is not HTTP is refused once, and the connection closed behind the refusal, however it comes in pieces",
    arguments: [
      ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
      ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400), ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
      ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
      ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
    ], [Conditions.calm, .harsh])
  func malformed(request: (String, Int), conditions: Conditions) throws {
    let bench = try FlowBench(seed: 2, conditions)
    let origin = bench.origin()
    let client = bench.client(request.0 + get("/next"))
    bench.world.run(for: .seconds(10))
    #expect(client.statuses == [request.1])
    #expect(client.responses.first?["connection"] == "close")
    #expect(client.peer.hasEnded && !client.peer.wasReset)
    #expect(origin.requests.isEmpty)
    client.peer.close()
    bench.expectRest()
  }

  @Test("A connection serves request after request, and one upstream connection is enough for them")
  func keepAlive() throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    let client = bench.client()
    for number in 1...20 {
      client.send(get("/\(number)"))
      #expect(bench.world.run { client.responses.count == number })
      #expect(client.responses.last?.text == "GET /\(number) ")
      #expect(client.responses.last?["connection"] == nil)
    }
    #expect(origin.connections.count == 1)
    client.peer.close()
    bench.expectRest()
  }

  @Test("Pipelined requests are answered in order, local and proxied mixed", arguments: [UInt64](1...12))
  func pipelining(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(routes: Self.local), seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let origin = bench.origin()
    var text = ""
    var expected: [String] = []
    for number in 0..<40 {
      switch number % 4 {
      case 0: (text, expected) = (text + get("/\(number)"), expected + ["GET /\(number) "])
      case 1: (text, expected) = (text + get("/local"), expected + ["here"])
      case 2:
        (text, expected) = (text + post("/\(number)", "body\(number)"), expected + ["POST /\(number) body\(number)"])
      default:
        text += postChunks("/\(number)", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        expected.append("POST /\(number) abcde")
      }
    }
    let client = bench.client(text)
    bench.world.run { client.responses.count == expected.count }
    #expect(client.responses.map(\.text) == expected)
    #expect(origin.targets == (0..<40).filter { $0 % 4 != 1 }.map { "/\($0)" })
    client.peer.close()
    bench.expectRest()
  }

  @Test(
    "A client that ends its direction behind pipelined requests still gets every response", arguments: [UInt64](1...8))
  func pipelinedThenEnded(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    bench.origin { connection, request in
      connection.peer.after(.milliseconds(5)) { _ in Origin.echo(connection, request) }
    }
    let client = bench.client(get("/1") + get("/2") + post("/3", "x"))
    client.peer.endSending()
    bench.world.run(for: .seconds(2))
    #expect(client.responses.map(\.text) == ["GET /1 ", "GET /2 ", "POST /3 x"])
    #expect(client.peer.hasEnded)
    bench.expectRest()
  }

  @Test("Byte by byte, both ways, everything comes to the same as whole", arguments: [UInt64](1...8))
  func crumbs(seed: UInt64) throws {
    func run(_ conditions: Conditions) throws -> [Outcome] {
      let bench = try FlowBench(FlowSetup(routes: Self.local), seed: seed, conditions)
      bench.origin { connection, request in
        switch request.target {
        case "/chunked":
          connection.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5;a=b\r\npedia\r\n0\r\nSum: 9\r\n\r\n")
        case "/none": connection.send("HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n")
        case "/until-close":
          connection.send("HTTP/1.0 200 OK\r\n\r\nto the end")
          connection.close()
        default: Origin.echo(connection, request)
        }
      }
      let client = bench.client(
        get("/a") + get("/local") + get("/chunked") + get("/none") + post("/p", "body") + get("/until-close")
          + postChunks("/c", "1\r\nx\r\n0\r\nTail: yes\r\n\r\n") + "BROKEN\r\n\r\n")
      bench.world.run { client.peer.hasEnded }
      #expect(client.reader.fault == nil)
      client.peer.close()
      bench.expectRest()
      return client.responses.map(Outcome.init)
    }
    let whole = try run(.calm)
    #expect(whole.count == 8)
    #expect(whole[2].text == "wikipedia" && whole[2].trailers == ["sum": ["9"]])
    #expect(try run(Self.crumbs) == whole)
    #expect(try run(.rough) == whole)
  }

  @Test("Chunks and trailers reach the upstream; trailers that could change the message do not")
  func chunkedRequest() throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    _ = try bench.exchange(
      postChunks("/c", "5;ext=1\r\nhello\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\nHost: evil\r\n\r\n"))
    #expect(origin.requests.first?.text == "hello")
    #expect(origin.requests.first?.isChunked == true)
    #expect(origin.requests.first?.trailers == ["x-sum": ["5"]])
  }

  @Test("A response without a length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0")
  func reframing() throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in
      connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome bytes")
      connection.close()
    }
    let new = try bench.exchange(get("/"))
    #expect(new.isChunked && new.text == "some bytes")
    let client = bench.client("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    bench.world.run { client.peer.isOver }
    #expect(client.responses.first?.text == "some bytes")
    #expect(client.responses.first?.isChunked == false)
    #expect(client.responses.first?["connection"] == "close")
  }

  @Test(
    "HTTP/1.0 closes after a response unless it asks to keep the connection, and never sees a chunk",
    arguments: [true, false])
  func http10(keepsAlive: Bool) throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, _ in connection.reply("x") }
    let request = "GET / HTTP/1.0\r\n" + (keepsAlive ? "Connection: keep-alive\r\n" : "") + "\r\n"
    let client = bench.client(request + request)
    bench.world.run(for: .seconds(1))
    #expect(client.responses.count == (keepsAlive ? 2 : 1))
    #expect(client.responses.first?["connection"] == (keepsAlive ? "keep-alive" : "close"))
    #expect(client.peer.hasEnded == !keepsAlive)
    #expect(origin.requests.first?.line == "GET / HTTP/1.1")
    #expect(origin.requests.first?["host"] == "10.0.1.1:9000")
  }

  @Test(
    "HEAD, 204 and 304 have no body, whatever their fields say",
    arguments: [
      ("HEAD", "200 OK", "Content-Length: 5\r\n"), ("HEAD", "200 OK", "Transfer-Encoding: chunked\r\n"),
      ("GET", "204 No Content", ""), ("GET", "304 Not Modified", "Content-Length: 5\r\n"),
    ])
  func bodiless(method: String, status: String, fields: String) throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, request in
      if request.target == "/bodiless" {
        connection.send("HTTP/1.1 \(status)\r\n\(fields)\r\n")
      } else {
        Origin.echo(connection, request)
      }
    }
    let client = bench.client()
    client.reader.methods = [method]
    client.send("\(method) /bodiless HTTP/1.1\r\nHost: a\r\n\r\n" + get("/after"))
    bench.world.run { client.responses.count == 2 }
    #expect(client.responses.map(\.text) == ["", "GET /after "])
    #expect(client.responses.first?["content-length"] == (fields.hasPrefix("Content") ? "5" : nil))
    #expect(origin.connections.count == 1)
  }

  @Test("A refusal answers HEAD with its fields and no body")
  func headRefused() throws {
    let bench = try FlowBench()
    let client = bench.client()
    client.reader.methods = ["HEAD"]
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get("/"))
    bench.world.run { client.responses.count == 2 }
    // There is no origin.
    #expect(client.statuses == [502, 502])
  }

  @Test(
    "100 Continue and early hints reach the client before the response, also where they come together with its beginning"
  )
  func interim() throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in
      connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 O")
      connection.peer.after(.milliseconds(20)) { $0.send("K\r\nContent-Length: 2\r\n\r\nok") }
    }
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(15))
    #expect(client.reader.interim.map(\.status) == [103])
    #expect(client.reader.interim.first?["link"] == "</a.css>")
    bench.world.run { !client.responses.isEmpty }
    #expect(client.responses.first?.text == "ok")
  }

  @Test("A client that expects 100 gets it from the upstream and sends its body then", arguments: [UInt64](1...4))
  func expectation(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    let origin = bench.origin()
    origin.onChange = { connection in
      if connection.reader.partial?["expect"] == "100-continue", connection.reader.interim.isEmpty,
        connection.reader.partial?.body.isEmpty == true
      {
        connection.send("HTTP/1.1 100 Continue\r\n\r\n")
      }
    }
    let client = bench.client(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    bench.world.run { !client.reader.interim.isEmpty }
    #expect(client.reader.interim.first?.status == 100)
    client.send("body")
    bench.world.run { !client.responses.isEmpty }
    #expect(client.responses.first?.text == "POST / body")
  }

  @Test("HTTP/1.0 never sees an informational response")
  func interimOfHTTP10() throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in
      connection.send("HTTP/1.1 103 Early Hints\r\n\r\n")
      connection.reply("ok")
    }
    let client = bench.client("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    bench.world.run { client.peer.isOver }
    #expect(client.reader.interim.isEmpty)
    #expect(client.responses.first?.text == "ok")
  }

  @Test(
    "A final response to a client that still waits for 100 closes the connection, since its body may or may not follow")
  func expectationRefused() throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    origin.onChange = { connection in
      if connection.reader.partial != nil, connection.reader.interim.isEmpty {
        connection.onceReply("no", status: "417 Expectation Failed")
      }
    }
    let client = bench.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    bench.world.run(for: .seconds(10))
    #expect(client.statuses == [417])
    #expect(client.responses.first?["connection"] == "close")
    #expect(client.peer.hasEnded)
  }

  @Test("The last of the requests that a connection may have says so and closes it")
  func requestsPerConnection() throws {
    let bench = try FlowBench(FlowSetup(node: "limits: { requestsPerConnection: 3 }", routes: Self.local))
    bench.origin()
    let client = bench.client(get("/1") + get("/local") + get("/3") + get("/4"))
    bench.world.run { client.peer.hasEnded }
    #expect(client.responses.map { $0["connection"] } == [nil, nil, "close"])
    client.peer.close()
    bench.expectRest()
  }
}
