import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("basic")
struct BasicTests {
  /// Hashes as another program makes them (hashlib of Python 3.11), of costs that tests can pay.
  private static let ann = "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$qrn7ZhlST3jO5Auifbc3xCWPabXREAX1HDl5f9rqSnA"
  private static let bob = "$scrypt$ln=11,r=4,p=2$MDEyMzQ1Njc4OWFiY2RlZg$DsjTUU0VTKRfMNJxIpXJzXcMnyhFLhXJ0VOI7ByL3kk"
  private static let users = "[{ name: \"ann\", password: \"\(ann)\", groups: [\"ops\"] }]"

  private func bench(_ options: String = "", users: String = BasicTests.users, facts: LoopFacts? = nil) throws -> Bench
  {
    let bench = try Bench(consumers: [Consumer(id: "shop", tenant: "acme")], facts: facts)
    let remarks = try bench.use("{ type: \"basic\", users: \(users)\(options) }")
    // Real hashes cost more than tests may take.
    #expect(remarks.allSatisfy { $0.contains("cheap to guess at") })
    return bench
  }

  private func request(_ name: String, _ password: String) -> String {
    "GET / HTTP/1.1\nHost: a\nAuthorization: Basic \(Base64.encode(Array("\(name):\(password)".utf8)))"
  }

  /// What becomes of a request whose password is checked if that is asked for.
  private func send(_ text: String, _ bench: Bench, from client: String = "192.0.2.1") throws -> String {
    var exchange = Exchange()
    exchange.ticket = 7
    exchange.client = try #require(IPAddress(client))
    var verdict = bench.begin(text, &exchange)
    var checks = ""
    if case .wait = verdict {
      verdict = try #require(bench.check(&exchange))
      checks = "checked "
    }
    switch verdict {
    case .next: return checks + (exchange.identity?.subject ?? "nobody")
    case .refuse(let refusal): return checks + "\(refusal.code)"
    default: return "else"
    }
  }

  // MARK: Refusals

  @Test("A request without a password is refused and told what to send, unless that is optional")
  func missing() throws {
    for more in ["", "\nAuthorization: Bearer YTpi", "\nAuthorization: Basic", "\nAuthorization: Basics YTpi"] {
      let outcome = try bench(", realm: \"orders\"").send("GET / HTTP/1.1\nHost: a" + more)
      #expect(outcome.verdict == "401" && outcome.code == "credentials-missing")
      #expect(outcome.responseFields == "WWW-Authenticate: Basic realm=\"orders\", charset=\"UTF-8\"\r\n")
      #expect(try bench(", optional: true").send("GET / HTTP/1.1\nHost: a" + more).verdict == "next")
    }
  }

  @Test(
    "What is no name and password is refused without being checked",
    arguments: [
      "YTpi YTpi", "YTpi=", "YTp", "a:b", "****", Base64.encode(Array("ann".utf8)),
      Base64.encode(Array(":secret".utf8)),
      Base64.encode(Array("ann:".utf8)), Base64.encode(Array("ann:a\u{7}b".utf8)), Base64.encode(Array("a\nb:c".utf8)),
      Base64.encode(Array("ann:a\u{0}".utf8)), Base64.encode(Array("ann:\u{85}".utf8)),
      Base64.encode([97, 58, 0xff, 0xfe]), Base64.encode(Array((String(repeating: "n", count: 257) + ":x").utf8)),
      Base64.encode(Array(("n:" + String(repeating: "p", count: 1_025)).utf8)), String(repeating: "QUFB", count: 2_000),
    ])
  func malformed(text: String) throws {
    let bench = try bench(", optional: true")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: Basic \(text)")
    #expect(outcome.verdict == "401" && outcome.code == "credentials-invalid")
    #expect(outcome.responseFields.hasPrefix("WWW-Authenticate: Basic ") && bench.passwords.orders.isEmpty)
  }

  @Test("Two fields are refused, whether or not both are good")
  func twice() throws {
    let text = request("ann", "open sesame")
    let field = try #require(text.split(separator: "\n").last)
    let bench = try bench()
    #expect(try send(text + "\n" + field, bench) == "credentials-invalid")
    #expect(try send(text + "\nAuthorization: Bearer x", bench) == "credentials-invalid")
  }

  @Test("A wrong password is refused, and one that is a part of the right one or more than it")
  func wrong() throws {
    for password in ["open", "open sesame ", "open sesame:", "Open sesame", "x"] {
      #expect(try send(request("ann", password), bench()) == "checked credentials-invalid")
    }
  }

  @Test("A name that does not exist costs what one does that exists, and always the same; its password is never right")
  func unknown() throws {
    let both = "[{ name: \"ann\", password: \"\(Self.ann)\" }, { name: \"bob\", password: \"\(Self.bob)\" }]"
    let bench = try bench(", failuresPerAddress: 1000", users: both)
    var seen: Set<String> = []
    for number in 0..<16 {
      var found: Set<String> = []
      for password in ["open sesame", "pässwörd", "x"] {
        var exchange = Exchange()
        exchange.ticket = 7
        guard case .wait = bench.begin(request("nobody-\(number)", password), &exchange) else {
          Issue.record("it is not checked")
          return
        }
        found.insert(bench.passwords.orders[0].hash.text)
        guard case .refuse(let refusal)? = bench.check(&exchange) else {
          Issue.record("it is not refused")
          return
        }
        #expect("\(refusal.code)" == "credentials-invalid")
      }
      #expect(found.count == 1)
      seen.formUnion(found)
    }
    #expect(seen == [Self.ann, Self.bob])
  }

  @Test("An address that has failed too often is not listened to for a while; whoever is remembered is, and others are")
  func flood() throws {
    let bench = try bench(", failuresPerAddress: 3")
    #expect(try send(request("ann", "open sesame"), bench) == "checked ann")
    for number in 0..<3 { #expect(try send(request("eve", "\(number)"), bench) == "checked credentials-invalid") }
    #expect(try send(request("eve", "more"), bench) == "too-many-failures")
    #expect(try send(request("ann", "open sesame"), bench) == "ann")
    #expect(try send(request("eve", "more"), bench, from: "192.0.2.2") == "checked credentials-invalid")
    bench.world.advance(seconds: 3.4)
    #expect(try send(request("eve", "even more"), bench) == "checked credentials-invalid")
  }

  @Test("Who hangs up before it is known whether the password is right has failed, whether or not it is")
  func hangingUp() throws {
    let bench = try bench(", failuresPerAddress: 3")
    for number in 0..<3 {
      var exchange = Exchange()
      exchange.ticket = UInt64(number)
      exchange.client = try #require(IPAddress("192.0.2.1"))
      guard case .wait = bench.begin(request("ann", number == 0 ? "open sesame" : "\(number)"), &exchange) else {
        Issue.record("the password is not checked")
        return
      }
    }
    bench.passwords.orders.removeAll()
    #expect(try send(request("bob", "x"), bench) == "too-many-failures")
    #expect(try send(request("bob", "x"), bench, from: "192.0.2.2") == "checked credentials-invalid")
  }

  @Test("A name that was tried too often is not tried again for a minute, from wherever; other names are")
  func names() throws {
    let bench = try bench(", failuresPerAddress: 1000")
    for number in 0..<11 {
      let answer = try send(request("ann", "\(number)"), bench, from: "192.0.2.\(number)")
      #expect(answer == "checked credentials-invalid")
    }
    #expect(try send(request("ann", "open sesame"), bench, from: "192.0.2.99") == "too-many-failures")
    #expect(try send(request("bob", "x"), bench, from: "192.0.2.99") == "checked credentials-invalid")
    bench.world.advance(seconds: 60.1)
    #expect(try send(request("ann", "open sesame"), bench, from: "192.0.2.99") == "checked ann")
  }

  @Test("Where too many passwords wait, the next is refused, and says whether the fault is its address's")
  func overload() throws {
    let bench = try bench()
    bench.passwords.intake = .crowded
    let crowded = bench.send(request("ann", "open sesame"))
    #expect(crowded.verdict == "429" && crowded.code == "concurrency-limited" && crowded.retryAfter == 1)
    bench.passwords.intake = .full
    let full = bench.send(request("ann", "open sesame"))
    #expect(full.verdict == "503" && full.code == "overloaded" && full.retryAfter == 1)
  }

  @Test("An outcome that got lost is no outcome")
  func lost() throws {
    let bench = try bench()
    var exchange = Exchange()
    exchange.ticket = 7
    guard case .wait = bench.begin(request("ann", "open sesame"), &exchange),
      case .refuse(let refusal) = bench.chain.resume(&exchange, bench.request, bench.services)
    else {
      Issue.record("it is not refused")
      return
    }
    #expect("\(refusal.code)" == "overloaded")
  }

  // MARK: Callers

  @Test("A right password says who it is; the upstream gets neither it nor what clients say of themselves")
  func identity() throws {
    let bench = try bench(
      users: "[{ name: \"bo\u{e9}\", password: \"\(Self.bob)\", consumer: \"shop\", groups: [\"ops\"] }]")
    var exchange = Exchange()
    let text = request("bo\u{e9}", "pässwörd") + "\nX-Remote-User: root\nAccept: */*"
    guard case .wait = bench.begin(text, &exchange), case .next? = bench.check(&exchange) else {
      Issue.record("it does not pass")
      return
    }
    #expect(exchange.identity?.subject == "bo\u{e9}" && exchange.identity?.groups == ["ops"] && exchange.consumer == 0)
    #expect(bench.send(text).passed == ["host", "accept"])
    try bench.use("{ type: \"basic\", users: [{ name: \"ann\", password: \"\(Self.ann)\", consumer: \"nobody\" }] }")
    #expect(try send(request("ann", "open sesame"), bench) == "checked consumer-not-allowed")
  }

  @Test("What was right or wrong is remembered for a while, and for one policy only")
  func remembered() throws {
    let bench = try bench(", cacheTime: \"20s\"")
    let (right, wrong) = (request("ann", "open sesame"), request("ann", "x"))
    #expect(try send(right, bench) == "checked ann" && send(wrong, bench) == "checked credentials-invalid")
    #expect(try send(right, bench) == "ann" && send(wrong, bench) == "credentials-invalid")
    bench.world.advance(seconds: 10)
    #expect(try send(right, bench) == "ann" && send(wrong, bench) == "checked credentials-invalid")
    bench.world.advance(seconds: 10)
    #expect(try send(right, bench) == "checked ann")
    try bench.use("{ type: \"basic\", users: [{ name: \"ann\", password: \"\(Self.bob)\" }] }")
    #expect(try send(right, bench) == "checked credentials-invalid")
    try bench.use("{ type: \"basic\", users: \(Self.users), cacheTime: \"0s\" }")
    for _ in 0..<2 { #expect(try send(right, bench) == "checked ann") }
  }

  @Test("Requests with the same password wait for one check together")
  func together() throws {
    let bench = try bench()
    for ticket in 1...3 {
      var exchange = Exchange()
      exchange.ticket = UInt64(ticket)
      guard case .wait = bench.begin(request("ann", "open sesame"), &exchange) else { continue }
    }
    #expect(bench.passwords.orders.count == 1 && bench.passwordDesk.count == 3)
  }

  @Test("A user who was revoked is refused, also where the password is remembered")
  func revoked() throws {
    let clock = FactClock()
    clock.verifiedAt = 1_000
    let facts = LoopFacts(markKey: SipKey(low: 5, high: 6), clock: clock, bootTime: { 1_000 })
    let bench = try bench(facts: facts)
    #expect(try send(request("ann", "open sesame"), bench) == "checked ann")
    var book = RevocationBook()
    _ = book.insert([Revocation(RevocationMark(.subject, "ann", key: facts.markKey))])
    facts.view = FactView(revocations: book.current)
    #expect(try send(request("ann", "open sesame"), bench) == "key-revoked")
  }

  @Test("Beside other ways to know a caller it counts as one")
  func alternatives() throws {
    let bench = try Bench()
    let issuer = try TestIssuer()
    let ways = "{ type: \"jwt\", issuers: [\(issuer.options())] }, { type: \"basic\", users: \(Self.users) }"
    try bench.use("{ type: \"any-of\", policies: [\(ways)] }")
    let nobody = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(nobody.code == "token-missing" && nobody.responseFields.contains("Basic realm="))
    #expect(bench.send(bearing(try issuer.token())).verdict == "next")
    #expect(try send(request("ann", "open sesame"), bench) == "checked ann")
  }

  // MARK: Options

  @Test(
    "Users that cannot be are refused",
    arguments: [
      ("users: []", "nobody may come"), ("users: [{ name: \"a:b\", password: \"\(ann)\" }]", "nobody can be called"),
      ("users: [{ name: \"\", password: \"\(ann)\" }]", "nobody can be called"),
      ("users: [{ name: \"a\", password: \"secret\" }]", "a password itself is never kept"),
      ("users: [{ name: \"a\", password: \"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\" }]", "guessed too fast"),
      ("users: [{ name: \"a\", password: \"$2y$10$abcdefghijklmnopqrstuv\" }]", "no bcrypt"),
      ("users: [{ name: \"a\", password: \"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA\" }]", "needs OpenSSL 3.2"),
      ("users: [{ name: \"a\", password: \"\(ann)\" }, { name: \"a\", password: \"\(bob)\" }]", "twice"),
      ("file: \"ann\"", "line 1 is not"), ("file: \"ann:secret\"", "the hash on line 1"),
      ("users: [{ name: \"a\", password: \"\(ann)\" }], realm: \"a\\\\b\"", "quoted"),
    ])
  func options(options: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"basic\", \(options) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
    #expect(!remarks.contains { $0.contains("W6ph5") || $0.contains("aGFzaA") })
  }

  @Test("Users may be kept in a file, one on a line")
  func file() throws {
    let bench = try Bench()
    let file = "# made by hand\\n\\nann:\(Self.ann)\\r\\nbob:\(Self.bob)\\n"
    #expect(try bench.use("{ type: \"basic\", file: \"\(file)\" }").allSatisfy { $0.contains("cheap") })
    #expect(try send(request("ann", "open sesame"), bench) == "checked ann")
    #expect(try send(request("bob", "pässwörd"), bench) == "checked bob")
  }
}
