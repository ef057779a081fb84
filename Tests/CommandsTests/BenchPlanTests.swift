import Core
import HTTP
import Testing

@testable import Commands

private let somewhere = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: 8080)

private func plan(_ words: [String]) throws -> BenchPlan {
  let arguments = try Arguments(words, options: Verb.bench.options)
  return try BenchCommand.plan(arguments) { place in
    if case .socket(let address) = place { return address }
    return somewhere
  }
}

@Suite("BenchPlan")
struct BenchPlanTests {
  @Test(
    "What cannot be measured is refused, and the message says why",
    arguments: [
      ([], "nothing to measure"), (["http://a b/"], "percent-encode"),
      (["http://user@a/"], "--header"), (["unix:relative"], "path of a socket"), (["http:///x"], "give an address"),
      (["-c", "0", "a"], "1 to 100000"), (["-c", "2", "-t", "3", "a"], "give at least 3"),
      (["-c", "1", "127.0.0.1:1", "127.0.0.1:2"], "give at least 2"), (["-R", "0", "a"], "--rate 0"),
      (["-R", "nan", "a"], "--rate"),
      (["-n", "5", "-d", "5s", "a"], "exclude each other"), (["-n", "5", "-w", "1s", "a"], "--warmup"),
      (["--pipeline", "4", "-R", "5", "a"], "exclude each other"),
      (["--pipeline", "4", "--no-keepalive", "a"], "leave --no-keepalive out"),
      (["-H", "nonsense", "a"], "Name: value"), (["-H", "A B: c", "a"], "Name: value"),
      (["-H", "A: b\r\nC: d", "a"], "control characters"), (["-H", "Content-Length: 4", "a"], "--body"),
      (["--key-header", "X", "a"], "--keys"), (["--keys", "/nonexistent", "a"], "/nonexistent"),
      (["-m", "GE T", "a"], "--method"), (["-m", "CONNECT", "a"], "--method"), (["-d", "0s", "a"], "--duration 0s"),
      (["--timeout", "soon", "a"], "250ms"), (["--h2", "http://a/"], "--h2c"), (["--h2c", "https://a/"], "--h2"),
      (["--h2", "--h2c", "https://a/"], "exclude each other"), (["--streams", "2", "a"], "--h2c"),
      (["--h2c", "--streams", "257", "a"], "1 to 256"), (["--h2c", "--no-keepalive", "a"], "--no-keepalive"),
      (["--h2c", "--pipeline", "2", "a"], "--streams"), (["--h2c", "-c", "1000", "--streams", "200", "a"], "together"),
      (["--insecure", "http://a/"], "goes with https"), (["--no-resume", "a"], "goes with https"),
      (["--ca", "/x", "a"], "goes with https"), (["--ca", "/nonexistent", "https://a/"], "/nonexistent"),
      (["--ca", "/dev/null", "https://a/"], "no certificate"),
      (["--ca", "/x", "-k", "https://a/"], "exclude each other"),
    ] as [([String], String)])
  func refusals(words: [String], fragment: String) throws {
    do {
      _ = try plan(words)
      Issue.record("accepted \(words)")
    } catch let error as UsageError {
      #expect(error.message.contains(fragment), "\(error.message)")
    }
  }

  @Test("Without options it is 64 connections, one thread and ten seconds of a closed loop with keep-alive")
  func defaults() throws {
    let plan = try plan(["http://127.0.0.1:8080/x?y=1"])
    #expect(plan.connections == 64 && plan.threads == 1 && plan.rate == nil && plan.keepsAlive && plan.pipeline == 1)
    #expect(plan.extent == .nanoseconds(10_000_000_000) && plan.warmupNanoseconds == 0)
    #expect(
      plan.requests == [
        BenchRequest(beforeKey: Array("GET /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n".utf8), afterKey: [])
      ])
  }

  @Test(
    "A URL is taken apart",
    arguments: [
      ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080", "/"),
      ("http://a.example?q=1#part", "a.example:80", "a.example", "/?q=1"),
      ("localhost:81/a/b", "localhost:81", "localhost:81", "/a/b"), ("http://[::1]:8/", "[::1]:8", "[::1]:8", "/"),
      ("unix:/run/a.sock", "unix:/run/a.sock", "localhost", "/"),
      ("unix:/run/a.sock:/x?y", "unix:/run/a.sock", "localhost", "/x?y"),
    ])
  func urls(text: String, place: String, authority: String, target: String) throws {
    let url = try BenchURL(text)
    #expect(url.place.description == place && url.authority == authority && url.target == target)
  }

  @Test(
    "A URL of https says what the server's certificate must be good for",
    arguments: [
      ("https://a.example/x", "a.example:443", "a.example"), ("https://a.example:8443", "a.example:8443", "a.example"),
      ("https://127.0.0.1:1/", "127.0.0.1:1", "127.0.0.1"), ("https://[::1]:1/", "[::1]:1", "::1"),
    ])
  func secureURLs(text: String, place: String, name: String) throws {
    let url = try BenchURL(text)
    #expect(url.place.description == place && url.serverName == name)
  }

  @Test("Names at one address have connections of their own, and cleartext has too")
  func places() throws {
    let plan = try plan(["https://a/", "https://b/", "http://a/", "https://a/x"])
    #expect(plan.places.map(\.serverName) == ["a", "b", nil])
    #expect(plan.isSecure && !plan.isPlain && !plan.isMultiplexed && plan.security != nil)
  }

  @Test("Method, fields, body and key stand where they belong")
  func requestBytes() {
    var shape = BenchRequestShape()
    shape.method = "PUT"
    shape.fields = ["Host: other", "X-A: 1"]
    shape.body = Array("hello".utf8)
    shape.keyField = "Authorization: Bearer "
    shape.keepsAlive = false
    let request = shape.request(for: "a", target: "/b")
    #expect(
      String(decoding: request.beforeKey + Array("KEY".utf8) + request.afterKey, as: UTF8.self) == """
        PUT /b HTTP/1.1\r
        Host: other\r
        X-A: 1\r
        Content-Length: 5\r
        Connection: close\r
        Authorization: Bearer KEY\r
        \r
        hello
        """)
  }

  @Test("A body makes it a POST, a socket path overrides every URL")
  func bodyAndSocket() throws {
    let plan = try plan(["-b", "x=1", "--unix-socket", "/tmp/s", "http://a/", "http://b/"])
    #expect(plan.method == .post && plan.places == [BenchPlace(.unix(path: "/tmp/s"))])
    #expect(String(decoding: plan.requests[1].beforeKey, as: UTF8.self).hasPrefix("POST / HTTP/1.1\r\nHost: b\r\n"))
  }

  @Test("Connections, requests and threads are shared out without remainder", arguments: [(10, 3), (7, 7), (100, 8)])
  func shares(total: Int, threads: Int) throws {
    var plan = try plan(["a"])
    plan.threads = threads
    let parts = (0..<threads).map { BenchShare(plan: plan, thread: $0).part(of: total) }
    #expect(parts.reduce(0, +) == total)
    #expect((parts.max() ?? 0) - (parts.min() ?? 0) <= 1)
  }
}

@Suite("BenchSchedule")
struct BenchScheduleTests {
  private let start = Instant(nanoseconds: 1_000)

  @Test("Requests are evenly spaced and never drift", arguments: [0.5, 3, 999, 20_000, 1_234_567])
  func spacing(rate: Double) {
    let schedule = BenchSchedule(start: start, rate: rate)
    #expect(schedule.due(0) == start)
    for index: UInt64 in [1, 10, 1_000_000] {
      let exact = Double(index) * 1e9 / rate
      #expect(abs(Double(schedule.due(index).nanoseconds(since: start)) - exact) <= 1)
    }
  }

  @Test("Threads take turns and together keep the schedule of one", arguments: 1...5)
  func threads(count: Int) {
    let whole = BenchSchedule(start: start, rate: 7_000)
    let parts = (0..<count).map { BenchSchedule(start: start, rate: 7_000, offset: $0, stride: count) }
    for index in 0..<100 {
      #expect(parts[index % count].due(UInt64(index / count)) == whole.due(UInt64(index)))
    }
  }

  @Test("What is due before a moment is counted exactly", arguments: [1.0, 333, 20_000, 3_000_000], [1, 3])
  func counting(rate: Double, stride: Int) {
    let schedule = BenchSchedule(start: start, rate: rate, offset: stride - 1, stride: stride)
    for nanoseconds: Int64 in [-5, 0, 1, 49_999, 50_000, 50_001, 1_000_000, 2_000_000_000] {
      let moment = start.advanced(byNanoseconds: nanoseconds)
      var expected: UInt64 = 0
      while schedule.due(expected) < moment && expected < 10_000_000 { expected += 1 }
      #expect(schedule.count(before: moment) == expected)
    }
  }

  @Test("A moment beyond the clock never comes")
  func never() {
    #expect(BenchSchedule(start: start, rate: 0.001).due(.max >> 20) == .never)
  }
}
