import Core
import Crypto
import Testing

@testable import Pipeline

private func digest(_ text: String) -> Digest {
  let bytes = Array(text.utf8)
  return SHA256().digest(of: RawSpan(bytes))
}

@Suite("Key ring")
struct KeyRingTests {
  let now = WallTime(microseconds: 1_000_000)

  @Test("A key that nobody holds is unknown, in an empty ring too")
  func unknown() throws {
    let ring = try KeyRing([Consumer(id: "a", keys: [ConsumerKey(id: "k", digest: digest("secret"))])])
    #expect(ring.find(digest("Secret"), at: now) == .unknown)
    #expect(KeyRing().find(digest("secret"), at: now) == .unknown)
  }

  @Test("A key is valid from its first moment until just before its last")
  func validity() throws {
    let key = ConsumerKey(
      id: "k", digest: digest("secret"), notBefore: WallTime(microseconds: 10), expires: WallTime(microseconds: 20))
    let ring = try KeyRing([Consumer(id: "a", keys: [key])])
    func find(_ moment: Int64) -> KeyMatch { ring.find(digest("secret"), at: WallTime(microseconds: moment)) }
    #expect(find(9) == .notYetValid(consumer: 0, key: 0))
    #expect(find(10) == .valid(consumer: 0, key: 0))
    #expect(find(19) == .valid(consumer: 0, key: 0))
    #expect(find(20) == .expired(consumer: 0, key: 0))
  }

  @Test("One secret cannot be two keys")
  func duplicates() {
    let key = ConsumerKey(id: "k1", digest: digest("secret"))
    let other = ConsumerKey(id: "k2", digest: digest("secret"))
    do {
      _ = try KeyRing([Consumer(id: "a", keys: [key]), Consumer(id: "b", keys: [other])])
      Issue.record("the ring was made")
    } catch {
      #expect(error.first == ("a", "k1"))
      #expect(error.second == ("b", "k2"))
    }
  }

  @Test("Two keys whose digests begin with the same 128 bits are refused: nobody has digested both")
  func madeUp() throws {
    let text = String(repeating: "0", count: 63)
    let keys = try ["1", "2"].map { last in
      ConsumerKey(id: "k\(last)", digest: try #require(Digest(hexadecimal: text + last)))
    }
    #expect(throws: KeyRingError.self) { try KeyRing([Consumer(id: "a", keys: keys)]) }
  }

  @Test(
    "What is chosen to lie side by side does not: the places of neighbours and of multiples are spread",
    arguments: [1, 1 << 16, 1 << 32, 1 << 48] as [UInt64])
  func spread(step: UInt64) {
    let places = KeyedPlaces()
    let mask = (1 << 16) - 1
    for isHigh in [false, true] {
      var taken = Set<Int>()
      for index in 0..<4_096 {
        let word = UInt64(index) &* step
        let place = isHigh ? places.place(of: 7, word) : places.place(of: word, 7)
        taken.insert(place & mask)
      }
      #expect(taken.count > 3_500)
      var longest = 0
      var run = 0
      for place in 0...mask {
        run = taken.contains(place) ? run + 1 : 0
        longest = max(longest, run)
      }
      #expect(longest < 64)
    }
  }

  @Test("Every one of ten thousand keys finds its holder, several of one consumer too")
  func many() throws {
    let consumers = (0..<5000).map { index in
      Consumer(
        id: "c\(index)",
        keys: (0..<2).map { ConsumerKey(id: "k\($0)", digest: digest("secret \(index) \($0)")) })
    }
    let ring = try KeyRing(consumers)
    for index in stride(from: 0, to: 5000, by: 7) {
      for key in 0..<2 {
        #expect(
          ring.find(digest("secret \(index) \(key)"), at: now) == .valid(consumer: Int32(index), key: Int32(key)))
      }
    }
  }
}

@Suite("Problem documents")
struct ProblemTests {
  @Test("Codes are unique, stable in form, and their texts need no escaping")
  func catalogue() {
    let all = ProblemCatalogue.all
    #expect(Set(all.map { "\($0.code)" }).count == all.count)
    for problem in all {
      #expect((400...599).contains(problem.status))
      #expect("\(problem.code)".utf8.allSatisfy { $0 >= 97 && $0 <= 122 || $0 == 45 })
      for text in ["\(problem.title)", "\(problem.detail)"] {
        #expect(text.utf8.allSatisfy { $0 >= 32 && $0 < 127 && $0 != 34 && $0 != 92 })
      }
      #expect(ProblemCatalogue.markdown.contains("| \(problem.status) | `\(problem.code)` |"))
    }
  }

  @Test("A document is JSON with all five members of RFC 9457")
  func document() {
    let buffer = ByteBuffer()
    ProblemCatalogue.rateLimited.write(DecisionID(high: 0xabc, low: 0x1), into: buffer)
    let outcome = JSONDocument.parse(buffer.array)
    #expect(outcome.faults.isEmpty)
    let root = outcome.document?.root
    #expect(root?["type"]?.string == "urn:sluice:problem:rate-limited")
    #expect(root?["title"]?.string == "Rate limit exceeded")
    #expect(root?["status"]?.integer == 429)
    #expect(root?["instance"]?.string == "urn:sluice:decision:0000000000000abc0000000000000001")
    #expect(root?["detail"]?.string?.isEmpty == false)
  }
}

@Suite("Exchange")
struct ExchangeTests {
  @Test("Nothing of an exchange stays for the next one")
  func reset() {
    var exchange = Exchange()
    #expect(exchange.responseFieldsIfAny == nil && exchange.changedQuery == nil)
    exchange.consumer = 3
    exchange.key = 1
    exchange.bodyLimit = 10
    exchange.replyStatus = 204
    exchange.responseFields.append("A: b\r\n")
    exchange.requestFields.append("A: b\r\n")
    exchange.replyBody.append("x")
    exchange.changeQuery().append("a=b")
    #expect(exchange.changedQuery?.count == 3)
    exchange.reset()
    #expect(exchange.consumer == -1 && exchange.key == -1 && exchange.bodyLimit == .max && exchange.replyStatus == 0)
    #expect(exchange.responseFieldsIfAny == nil && exchange.requestFieldsIfAny == nil && exchange.replyBodyIfAny == nil)
    #expect(exchange.changedQuery == nil)
  }

  @Test("Small buffers keep their storage, large ones give it back")
  func storage() {
    var exchange = Exchange()
    exchange.responseFields.append([UInt8](repeating: 65, count: 1000))
    exchange.requestFields.append([UInt8](repeating: 65, count: 100_000))
    exchange.reset()
    #expect(exchange.responseFields.capacity >= 1000)
    #expect(exchange.requestFields.capacity <= Exchange.keptBytes)
  }
}

@Suite("Counter names")
struct QuotaKeyTests {
  @Test("Parts do not run together, and the order of a combination matters")
  func parts() {
    #expect(QuotaKey(configured: "ab", "c") != QuotaKey(configured: "a", "bc"))
    let (a, b) = (QuotaKey(configured: "a"), QuotaKey(configured: "b"))
    #expect(a.combined(with: b) != b.combined(with: a))
    #expect(a.combined(with: b) == a.combined(with: b))
  }

  @Test("Combinations of many limits and subjects all differ")
  func combinations() {
    let limits = (0..<50).map { QuotaKey(configured: "limit \($0)") }
    let subjects = (0..<400).map { QuotaKey(configured: "subject \($0)") }
    var seen: Set<QuotaKey> = []
    var shards = [Int](repeating: 0, count: 64)
    for limit in limits {
      for subject in subjects {
        let key = limit.combined(with: subject)
        seen.insert(key)
        shards[Int(key.high & 63)] += 1
      }
    }
    #expect(seen.count == 20_000)
    #expect(shards.allSatisfy { $0 > 200 && $0 < 430 })
  }
}
