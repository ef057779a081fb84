import Core
import Crypto
import Pipeline
import Policies
import Testing

/// The facts of a cluster as a test sets them, with a boot clock that it moves.
private final class Facts {
  static let markKey = SipKey(low: 5, high: 6)

  final class BootClock {
    var now: Int64 = 1_000_000_000_000
  }

  let boot = BootClock()
  let clock = FactClock()
  let loop: LoopFacts
  var revocations = RevocationBook()
  var keys = IssuedKeyBook()

  init() {
    loop = LoopFacts(markKey: Self.markKey, clock: clock, bootTime: { [boot] in boot.now })
    clock.verifiedAt = boot.now
  }

  func revoke(_ kind: RevocationKind, _ name: String, issuedBefore: UInt32 = 0) {
    let mark = RevocationMark(kind, name, key: Self.markKey)
    _ = revocations.insert([Revocation(mark, issuedBefore: issuedBefore)])
    publish()
  }

  func issue(_ change: (inout IssuedKey) -> Void = { _ in }, consumer: KeyConsumer) -> (IssuedKey, text: String) {
    let (id, text) = KeyText.make { SecureRandom.bytes($0) }
    let name = String(decoding: text, as: UTF8.self)
    var key = IssuedKey(id: id, version: 1, digest: digest(name), consumer: consumer, created: 1_000_000_000)
    change(&key)
    put(key)
    return (key, name)
  }

  func put(_ key: IssuedKey) {
    _ = keys.put([key])
    publish()
  }

  private func publish() { loop.view = FactView(revocations: revocations.current, keys: keys.current) }
}

@Suite("api-key and the facts of a cluster")
struct ApiKeyFactsTests {
  private let facts = Facts()

  private func bench(_ options: String = "") throws -> Bench {
    let keys = [ConsumerKey(id: "k1", digest: digest("key-1")), ConsumerKey(id: "k2", digest: digest("key-2"))]
    let bench = try Bench(
      consumers: [Consumer(id: "app", tenant: "acme", groups: ["gold"], keys: keys)], facts: facts.loop)
    #expect(try bench.use("{ type: \"api-key\"\(options) }") == [])
    return bench
  }

  private func send(_ bench: Bench, _ key: String) -> Outcome {
    bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: \(key)")
  }

  @Test(
    "A key is refused once it, its consumer or its tenant is revoked, whatever it was used for before",
    arguments: [
      (RevocationKind.key, "app/k1"), (.subject, "app"), (.client, "app"), (.tenant, "acme"),
    ])
  func revoked(kind: RevocationKind, name: String) throws {
    let bench = try bench()
    #expect(send(bench, "key-1").verdict == "next")
    facts.revoke(kind, name)
    let outcome = send(bench, "key-1")
    #expect(outcome.code == "key-revoked" && outcome.verdict == "401")
    #expect(outcome.responseFields.hasPrefix("WWW-Authenticate: "))
    #expect(send(bench, "key-2").verdict == (kind == .key ? "next" : "401"))
  }

  @Test("What is revoked by another kind or another name stands in nobody's way")
  func others() throws {
    let bench = try bench()
    for kind in [RevocationKind.tokenID, .session, .signingKey] { facts.revoke(kind, "app") }
    facts.revoke(.key, "k1")
    facts.revoke(.tenant, "app")
    #expect(send(bench, "key-1").verdict == "next")
  }

  @Test("A key of the cluster that is disabled, expired, not yet valid or deleted is refused, seen before or not")
  func issued() throws {
    let bench = try bench()
    let changes: [(inout IssuedKey) -> Void] = [
      { $0.state = .disabled }, { $0.state = .deleted }, { $0.expires = 2 }, { $0.notBefore = .max - 1 },
    ]
    for change in changes {
      #expect(send(bench, facts.issue(change, consumer: KeyConsumer(id: "app")).text).code == "api-key-invalid")
      let (made, text) = facts.issue(consumer: KeyConsumer(id: "app"))
      for _ in 0..<2 { #expect(send(bench, text).verdict == "next") }
      var next = made
      next.version += 1
      change(&next)
      facts.put(next)
      #expect(send(bench, text).code == "api-key-invalid")
    }
  }

  @Test("A key whose consumer the configuration does not have is nobody's, unless it says who that is")
  func consumers() throws {
    let bench = try bench(", groups: [\"trial\"], identity: true")
    #expect(send(bench, facts.issue(consumer: KeyConsumer(id: "gone")).text).code == "api-key-invalid")
    let own = KeyConsumer(id: "visitor", own: .init(tenant: "acme", groups: ["trial"]))
    let (key, text) = facts.issue(consumer: own)
    let outcome = send(bench, text)
    #expect(outcome.verdict == "next")
    #expect(
      outcome.requestFields
        == "X-Consumer-Id: visitor\r\nX-Consumer-Tenant: acme\r\nX-Consumer-Groups: trial\r\n"
        + "X-Consumer-Key: \(key.id.text)\r\n")
    #expect(send(bench, facts.issue(consumer: KeyConsumer(id: "app")).text).code == "consumer-not-allowed")
    facts.revoke(.tenant, "acme")
    #expect(send(bench, text).code == "key-revoked")
  }

  @Test("A subject that was revoked may use what it is given afterwards")
  func issuedBefore() throws {
    let bench = try bench()
    let (_, old) = facts.issue({ $0.created = 99 }, consumer: KeyConsumer(id: "app"))
    let (_, new) = facts.issue({ $0.created = 100 }, consumer: KeyConsumer(id: "app"))
    facts.revoke(.subject, "app", issuedBefore: 100)
    #expect(send(bench, old).code == "key-revoked")
    #expect(send(bench, new).verdict == "next")
    #expect(send(bench, "key-1").code == "key-revoked")
  }

  @Test("A mistyped key of the cluster is told from an unknown one")
  func mistyped() throws {
    let bench = try bench()
    let (_, text) = facts.issue(consumer: KeyConsumer(id: "app"))
    let last = text.hasSuffix("0") ? "1" : "0"
    #expect(send(bench, text.dropLast() + last).code == "api-key-mistyped")
    let (_, unknown) = KeyText.make { SecureRandom.bytes($0) }
    #expect(send(bench, String(decoding: unknown, as: UTF8.self)).code == "api-key-invalid")
  }

  @Test(
    "After two seconds without news a route does what its policy says, and what is known to be revoked stays refused")
  func stale() throws {
    let open = try bench()
    let closed = try bench(", onStaleRevocations: \"closed\"")
    facts.boot.now += LoopFacts.bound
    #expect(send(closed, "key-1").verdict == "next")
    facts.boot.now += 1
    let refused = send(closed, "key-1")
    #expect(refused.verdict == "503" && refused.code == "revocations-stale" && refused.retryAfter == 1)
    let passed = send(open, "key-1")
    #expect(passed.verdict == "next" && passed.responseFields == "Sluice-Degraded: revocations\r\n")
    #expect(facts.clock.staleRequests == 2)
    facts.revoke(.key, "app/k1")
    #expect(send(open, "key-1").code == "key-revoked")
    facts.clock.verifiedAt = facts.boot.now
    #expect(send(closed, "key-2").verdict == "next")
    #expect(send(open, "key-2").responseFields.isEmpty)
  }
}
