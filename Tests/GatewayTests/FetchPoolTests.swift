import Core
import Crypto
import HTTP
import Pipeline
import Simulation
import Testing

@testable import Gateway

@Suite struct FetchPoolTests {
  private static let url = "http://127.0.0.1:8080/a"

  private static func body(_ outcome: FetchOutcome) -> String? {
    guard case .answered(_, _, let body) = outcome else { return nil }
    return String(decoding: body, as: UTF8.self)
  }

  // MARK: Refusals

  @Test(
    "An answer that is not one, or has no end, is none",
    arguments: [
      ("nonsense\r\n\r\n", "the answer is not HTTP"),
      ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "the answer has no end"),
      ("HTTP/1.1 200 OK\r\nContent-Le", "the answer has no end"), ("", "the answer has no end"),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "the answer has no end"),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "the answer is not HTTP"),
      ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", "the answer is not HTTP"),
      ("HTTP/1.1 100 Continue\r\n\r\n", "the answer has no end"),
    ])
  func malformed(answer: String, reason: String) throws {
    for seed in UInt64(1)...5 {
      let bench = FetchBench(seed: seed, .harsh)
      bench.world.serve(.ip(FetchBench.here, port: 8080)) { peer in
        guard peer.take(through: "\r\n\r\n") != nil else { return }
        if !answer.isEmpty { peer.send(answer) }
        peer.close()
      }
      #expect(try bench.fetch(Self.url) == .failed(reason))
      #expect(bench.node.loop.openSockets == 0)
    }
  }

  @Test(
    "An answer that is too long is cut off, however it says so",
    arguments: [
      "HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n",
      "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "a", count: 262_145),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: "8\r\n12345678\r\n", count: 40_000),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: "1\r\na\r\n", count: 200_000),
      "HTTP/1.1 200 OK\r\nA: " + String(repeating: "b", count: 16_384) + "\r\n\r\n",
      "HTTP/1.1 200 OK\r\n" + String(repeating: "A: b\r\n", count: 101) + "\r\n",
      String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 700),
    ])
  func tooLong(answer: String) throws {
    let bench = FetchBench()
    bench.serve { _ in answer }
    let outcome = try bench.fetch(Self.url)
    #expect(outcome == .failed("the answer is too long") || outcome == .failed("the answer is not HTTP"))
    #expect(bench.node.loop.openSockets == 0)
  }

  @Test("A server that says nothing, or too slowly, costs its time and no more")
  func tooSlow() throws {
    for isSilent in [true, false] {
      let bench = FetchBench()
      bench.world.serve(.ip(FetchBench.here, port: 8080)) { peer in
        guard !isSilent, peer.take(through: "\r\n\r\n") != nil else { return }
        peer.send("HTTP/1.1 200 OK\r\n\r\n")
        for second in 1...100 { peer.after(.seconds(second)) { $0.send("a") } }
      }
      var request = FetchRequest(try #require(FetchURL(Self.url)))
      request.timeoutNanoseconds = 3_000_000_000
      let start = bench.world.now
      #expect(try bench.fetch(request) == .failed("it took too long"))
      #expect((2_999...3_010).contains(bench.world.now.nanoseconds(since: start) / 1_000_000))
      #expect(bench.node.loop.openSockets == 0)
    }
  }

  @Test("A name without an address, and one that nobody answers for, are failures")
  func names() throws {
    let bench = FetchBench()
    #expect(try bench.fetch("https://nowhere.test/") == .failed("nowhere.test has no address"))
    bench.letters.silent = ["silent.test"]
    #expect(try bench.fetch("https://silent.test/") == .failed("it took too long"))
  }

  @Test("A name that is bound to the machine itself and stands for another one is not asked")
  func notLoopback() throws {
    let bench = FetchBench()
    let server = bench.serve(FetchBench.far, port: 80) { _ in FetchBench.answer("secret") }
    bench.letters.names["localhost"] = [FetchBench.far]
    #expect(
      try bench.fetch(FetchRequest(try #require(FetchURL("http://localhost/")))) == .failed("localhost has no address"))
    #expect(server.peers.isEmpty)
  }

  @Test("Redirects are answers like any other, and not followed")
  func redirect() throws {
    let bench = FetchBench()
    let other = bench.serve(port: 8081) { _ in FetchBench.answer("other") }
    bench.serve { _ in FetchBench.answer("", status: "302 Found", "Location: http://127.0.0.1:8081/\r\n") }
    guard case .answered(302, let fields, _) = try bench.fetch(Self.url) else {
      Issue.record("no redirect")
      return
    }
    #expect(fields.contains(FetchField("location", "http://127.0.0.1:8081/")))
    #expect(other.peers.isEmpty)
  }

  @Test("A request that cannot be sent fails, and nobody is asked")
  func unsendable() throws {
    let bench = FetchBench()
    let server = bench.serve { _ in FetchBench.answer("a") }
    let request = FetchRequest(try #require(FetchURL(Self.url)), fields: [FetchField("Host", "other")])
    guard case .failed = try bench.fetch(request) else {
      Issue.record("it was sent")
      return
    }
    #expect(server.peers.isEmpty)
  }

  // MARK: Answers

  @Test("An answer comes whole on any network, whatever frames it", arguments: [Conditions.calm, .rough, .harsh])
  func answers(conditions: Conditions) throws {
    let text = String(repeating: "0123456789", count: 300)
    let answers = [
      FetchBench.answer(text),
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + FetchBench.answer(text),
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n\(text)\r\n0\r\nTrailer: a\r\n\r\n",
      "HTTP/1.0 200 OK\r\n\r\n\(text)",
    ]
    for seed in UInt64(1)...5 {
      for answer in answers {
        let bench = FetchBench(seed: seed, conditions)
        bench.world.serve(.ip(FetchBench.here, port: 8080)) { peer in
          guard peer.take(through: "\r\n\r\n") != nil else { return }
          peer.send(answer)
          peer.close()
        }
        #expect(Self.body(try bench.fetch(Self.url)) == text)
        #expect(bench.node.loop.openSockets == 0 && bench.desk.count == 0)
      }
    }
  }

  @Test("What is sent is what was asked for, and any status is an answer")
  func sends() throws {
    let bench = FetchBench()
    var asked: [WireMessage] = []
    bench.serve {
      asked.append($0)
      return FetchBench.answer("no", status: "403 Forbidden", "X-Why: Because\r\n")
    }
    let request = FetchRequest(
      try #require(FetchURL(Self.url + "?b=c")), method: .post, fields: [FetchField("Authorization", "Basic abc")],
      body: Array("token=x".utf8))
    let outcome = try bench.fetch(request)
    #expect(
      outcome
        == .answered(
          status: 403, fields: [FetchField("content-length", "2"), FetchField("x-why", "Because")],
          body: Array("no".utf8)))
    #expect(asked.map(\.line) == ["POST /a?b=c HTTP/1.1"] && asked.map(\.text) == ["token=x"])
    #expect(asked.first?["authorization"] == "Basic abc" && asked.first?["host"] == "127.0.0.1:8080")
  }

  @Test("Where an address refuses the connection, or never takes it, the next one is tried")
  func nextAddress() throws {
    for (isSilent, conditions) in [(false, Conditions.calm), (false, .rough), (true, .rough)] {
      let bench = FetchBench(conditions)
      let lost = IPAddress(v4: 0x0a00_0102)
      if isSilent { bench.world.ignore(.ip(lost, port: 8080)) }
      bench.letters.names["many.test"] = [lost, lost, FetchBench.far]
      bench.serve(FetchBench.far) { _ in FetchBench.answer("here") }
      #expect(Self.body(try bench.fetch("http://many.test:8080/")) == "here")
      #expect(bench.node.loop.openSockets == 0)
    }
  }

  @Test("Where no address takes a connection the last reason is given")
  func noAddress() throws {
    let bench = FetchBench()
    bench.letters.names["many.test"] = [FetchBench.far, FetchBench.here]
    #expect(try bench.fetch("http://many.test:8080/") == .failed("no connection: refused"))
  }

  // MARK: Bounds

  @Test("So many run at a time, so many wait, and more are refused; each has its outcome")
  func bounds() throws {
    let bench = FetchBench(.calm)
    var isOpen = false
    let server = bench.serve { _ in isOpen ? FetchBench.answer("a") : "" }
    let request = FetchRequest(try #require(FetchURL(Self.url)), timeoutNanoseconds: 30_000_000_000)
    var accepted = 0
    for ticket in UInt64(1)...1_100 where bench.desk.begin(request, ticket: ticket << 32) { accepted += 1 }
    #expect(accepted == FetchDesk.waitingPerServer && bench.desk.count == accepted)
    bench.world.run(for: .seconds(1))
    #expect(bench.node.loop.openSockets == FetchPool.runningPerServer)
    #expect(bench.node.handler.fetches.pool.count == accepted)
    isOpen = true
    for peer in server.peers { peer.send(FetchBench.answer("a")) }
    bench.world.run(within: .seconds(20)) { bench.outcomes.count == accepted }
    #expect(bench.outcomes.count == accepted && bench.outcomes.values.allSatisfy { Self.body($0) == "a" })
    #expect(bench.node.loop.openSockets == 0 && bench.desk.count == 0)
  }

  @Test("A server that does not answer leaves room for fetches from others")
  func perServer() throws {
    let bench = FetchBench(.calm)
    var pool = FetchPool(world: bench.node.loop)
    let silent = FetchRequest(try #require(FetchURL("https://silent.test/")))
    let other = FetchRequest(try #require(FetchURL("https://other.test/")))
    let most = FetchPool.runningPerServer
    var looked: [String] = []
    for number in 1...most + FetchPool.queuePerServer {
      if number == most + 1 { _ = pool.advance { host, _ in looked.append(host) } }
      let isTaken = pool.begin(silent, for: .loop(0, order: UInt64(number)))
      #expect(isTaken)
    }
    let isOneMore = pool.begin(silent, for: .staple(1))
    let isOther = pool.begin(other, for: .staple(2))
    #expect(!isOneMore && isOther && looked == Array(repeating: "silent.test", count: most))
    looked = []
    _ = pool.advance { host, _ in looked.append(host) }
    #expect(looked == ["other.test"])
  }

  @Test("A pool that is full says so, at once")
  func full() throws {
    let bench = FetchBench(.calm)
    let request = FetchRequest(try #require(FetchURL(Self.url)))
    let other = FetchRequest(try #require(FetchURL("https://other.test/")))
    var pool = FetchPool(world: bench.node.loop)
    let limit = FetchPool.runningLimit + FetchPool.queueLimit
    let accepted = (1...limit).filter { pool.begin($0 % 2 == 0 ? request : other, for: .loop(0, order: UInt64($0))) }
    #expect(accepted.count == limit)
    let isOneMore = pool.begin(request, for: .staple(1))
    #expect(!isOneMore)
    pool.beginOrRefuse(request, for: .loop(1, order: 7))
    let outcomes = pool.takeOutcomes()
    #expect(outcomes.map(\.outcome) == [.failed("too many fetches wait")])
  }
}

@Suite struct FetchSecurityTests {
  private func request(_ text: String, authorities: String? = FetchBench.authority) throws -> FetchRequest {
    FetchRequest(try #require(FetchURL(text)), authorities: authorities)
  }

  @Test("A server whose certificate is good for another name is not believed, and sees no request")
  func wrongName() throws {
    let bench = FetchBench()
    var asked: [String] = []
    try bench.serveTLS {
      asked.append($0)
      return FetchBench.answer("a")
    }
    guard case .failed(let reason) = try bench.fetch(try request("https://other.test/")) else {
      Issue.record("it was believed")
      return
    }
    #expect(reason.hasPrefix("the server's certificate is not good") && asked.isEmpty)
    #expect(bench.node.loop.openSockets == 0)
  }

  @Test("A server whose certificate comes from an authority that was not named is not believed")
  func wrongAuthority() throws {
    let bench = FetchBench()
    var asked: [String] = []
    try bench.serveTLS {
      asked.append($0)
      return FetchBench.answer("a")
    }
    let other = String(decoding: TestCertificates.manyNames, as: UTF8.self)
    for authorities in [nil, other] {
      guard case .failed = try bench.fetch(try request("https://server.test/", authorities: authorities)) else {
        Issue.record("it was believed")
        return
      }
    }
    #expect(asked.isEmpty)
  }

  @Test("Authorities that cannot be read are a failure")
  func noAuthorities() throws {
    let bench = FetchBench()
    guard case .failed = try bench.fetch(try request("https://server.test/", authorities: "nonsense")) else {
      Issue.record("it was believed")
      return
    }
  }

  @Test("A server that speaks no TLS, or says nothing, is a failure")
  func noTLS() throws {
    for isSilent in [true, false] {
      let bench = FetchBench()
      bench.world.serve(.ip(FetchBench.far, port: 443)) { peer in
        if !isSilent, !peer.take().isEmpty { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n") }
      }
      guard case .failed = try bench.fetch(try request("https://server.test/")) else {
        Issue.record("it was believed")
        return
      }
      #expect(bench.node.loop.openSockets == 0)
    }
  }

  @Test("An end that TLS knows nothing of ends no answer")
  func truncated() throws {
    let bench = FetchBench()
    try bench.serveTLS(ends: false) { _ in "HTTP/1.0 200 OK\r\n\r\nhalf" }
    #expect(try bench.fetch(try request("https://server.test/")) == .failed("the answer has no end"))
  }

  @Test("Requests and answers pass through TLS on any network", arguments: [Conditions.calm, .rough, .harsh])
  func secured(conditions: Conditions) throws {
    for seed in UInt64(1)...3 {
      let bench = FetchBench(seed: seed, conditions)
      let text = String(repeating: "abcdefgh", count: 500)
      try bench.serveTLS { $0.hasPrefix("GET /a HTTP/1.1\r\nHost: server.test\r\n") ? FetchBench.answer(text) : "" }
      guard case .answered(200, _, let body) = try bench.fetch(try request("https://server.test/a")) else {
        Issue.record("no answer")
        return
      }
      #expect(body == Array(text.utf8) && bench.node.loop.openSockets == 0)
    }
  }

  @Test("An answer may last until the end of its connection, if TLS says that it is the end")
  func untilEnd() throws {
    let bench = FetchBench()
    try bench.serveTLS { _ in "HTTP/1.0 200 OK\r\n\r\nwhole" }
    let whole = FetchOutcome.answered(status: 200, fields: [], body: Array("whole".utf8))
    #expect(try bench.fetch(try request("https://server.test/")) == whole)
  }
}
