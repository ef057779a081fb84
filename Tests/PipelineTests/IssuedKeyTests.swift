import Core
import Crypto
import Testing

@testable import Pipeline

private func digest(_ text: String) -> Digest {
  let bytes = Array(text.utf8)
  return SHA256().digest(of: RawSpan(bytes))
}

private func id(_ number: Int) throws -> KeyID {
  try #require(KeyID(number: UInt64(number + 1) &* 839_299_361 % (1 << 59)))
}

private func key(_ number: Int, version: UInt64 = 1, consumer: KeyConsumer = KeyConsumer(id: "app")) throws -> IssuedKey
{
  IssuedKey(id: try id(number), version: version, digest: digest("secret \(number)"), consumer: consumer, created: 7)
}

@Suite("Issued keys") struct IssuedKeyTests {
  @Test("an id that nobody made is not found, in an empty book too")
  func unknown() throws {
    var book = IssuedKeyBook()
    #expect(book.current.key(try id(1)) == nil)
    _ = book.put([try key(1)])
    #expect(book.current.key(try id(2)) == nil)
    #expect(book.current.key(try id(1)) == (try key(1)))
  }

  @Test("the record of the highest version holds, whatever comes first")
  func versions() throws {
    var newer = try key(1, version: 5)
    newer.state = .disabled
    let older = try key(1, version: 4)
    for order in [[older, newer], [newer, older], [newer, newer, older]] {
      var book = IssuedKeyBook()
      for record in order { _ = book.put([record]) }
      #expect(book.current.key(newer.id) == newer)
      let again = book.put(order)
      #expect(again.isEmpty)
      var together = IssuedKeyBook()
      _ = together.put(order)
      #expect(together.current.key(newer.id) == newer)
      #expect(together.current.count == 1)
    }
  }

  @Test("consumers keep what they are, whether their neighbours are alike or not", arguments: [0, 1, 700, 1024, 3000])
  func consumers(alike: Int) throws {
    var book = IssuedKeyBook()
    func consumer(_ number: Int) -> KeyConsumer {
      KeyConsumer(id: "developer-\(number)", own: .init(tenant: number < alike ? "all" : "tenant-\(number % 7)"))
    }
    let keys = try (0..<2500).map { try key($0, consumer: consumer($0)) }
    for start in stride(from: 0, to: keys.count, by: 900) { _ = book.put(Array(keys[start...].prefix(900))) }
    for (number, key) in keys.enumerated() { #expect(book.current.key(key.id)?.consumer == consumer(number)) }
  }

  @Test("of two records made in the same moment the one that allows less holds")
  func ties() throws {
    var disabled = try key(1)
    disabled.state = .disabled
    for order in [[try key(1), disabled], [disabled, try key(1)]] {
      var book = IssuedKeyBook()
      for record in order { _ = book.put([record]) }
      #expect(book.current.key(disabled.id)?.state == .disabled)
    }
  }

  @Test("thousands of keys and consumers are told apart, and listed once each from any cursor on")
  func many() throws {
    var book = IssuedKeyBook()
    let own = [KeyConsumer.Own(tenant: "acme", groups: ["gold"]), KeyConsumer.Own(), nil]
    let keys = try (0..<5000).map { try key($0, consumer: KeyConsumer(id: "c\($0 / 2)", own: own[$0 / 2 % 3])) }
    for start in stride(from: 0, to: keys.count, by: 900) {
      let news = book.put(Array(keys[start..<min(start + 900, keys.count)]))
      #expect(news.count == min(900, keys.count - start))
    }
    #expect(book.current.count == 5000)
    #expect(book.current.consumers.count == 2500)
    for wanted in keys { #expect(book.current.key(wanted.id) == wanted) }
    var listed: [KeyID] = []
    var cursor: UInt64 = 0
    while true {
      let before = listed.count
      book.current.forEach(after: cursor) {
        cursor = $0
        listed.append($1.id)
        return listed.count - before < 333
      }
      if listed.count == before { break }
    }
    #expect(listed.count == 5000)
    #expect(Set(listed).symmetricDifference(keys.map(\.id)).isEmpty)
  }

  @Test(
    "keys are found wherever their mixes crowd together",
    arguments: [UInt64(0), 1 << 62, .max - 20_000] as [UInt64])
  func crowds(start: UInt64) throws {
    // Of all mixes one in twenty belongs to an id.
    func ids(_ range: Range<UInt64>) -> [KeyID] { range.compactMap { IssuedKeys.id(of: start &+ $0) } }
    let crowd = ids(0..<8000)
    let others = [1 << 61, 1 << 63, 3 << 62].compactMap { (other: UInt64) in
      (other..<other + 2000).lazy.compactMap { IssuedKeys.id(of: $0) }.first
    }
    #expect(crowd.count > 200 && others.count == 3)
    var book = IssuedKeyBook()
    let keys = (crowd + others).map {
      IssuedKey(id: $0, version: 1, digest: digest($0.text), consumer: KeyConsumer(id: "app"), created: 7)
    }
    _ = book.put(keys)
    for key in keys { #expect(book.current.key(key.id) == key) }
    for id in ids(8000..<20_000) { #expect(book.current.key(id) == nil) }
  }

  @Test("what was deleted is forgotten only where that was long ago")
  func forgetting() throws {
    var book = IssuedKeyBook()
    var deleted = try (1...3).map { try key($0, version: UInt64($0)) }
    for index in deleted.indices { deleted[index].state = .deleted }
    _ = book.put(deleted + [try key(4, version: 1)])
    let dropped = book.forget(deletedBefore: 3)
    let droppedAgain = book.forget(deletedBefore: 3)
    #expect(dropped == 2 && droppedAgain == 0)
    #expect(book.current.count == 2)
    #expect(book.current.key(deleted[2].id) != nil)
  }

  @Test("a name without an allocation is the same as one with")
  func names() {
    for name in ["", "a", "mobile-app", String(repeating: "x", count: 128)] {
      let bytes = Array(name.utf8)
      #expect(QuotaKey(configured: "consumer", span: RawSpan(bytes)) == QuotaKey(configured: "consumer", name))
    }
  }
}

@Suite("Key text") struct KeyTextTests {
  private func read(_ text: [UInt8]) -> KeyText.Reading { KeyText.read(RawSpan(text)) }

  @Test("another text is foreign", arguments: ["", "slk_", "sk_live_0123456789", String(repeating: "a", count: 48)])
  func foreign(text: String) {
    #expect(read(Array(text.utf8)) == .foreign)
  }

  @Test("every changed character is noticed")
  func typos() {
    let (_, text) = KeyText.make { SecureRandom.bytes($0) }
    for index in text.indices {
      var changed = text
      changed[index] = changed[index] == 65 ? 66 : 65
      #expect(read(changed) == (index < 4 || index == 14 ? .foreign : .mistyped))
    }
  }

  @Test("a key that was made has the form that scanners look for, and its id in it")
  func made() throws {
    for _ in 0..<200 {
      let (id, text) = KeyText.make { SecureRandom.bytes($0) }
      #expect(read(text) == .key(id))
      let string = String(decoding: text, as: UTF8.self)
      #expect(try #require(string.wholeMatch(of: Regex(KeyText.pattern))).output.count == 1)
      #expect(string.dropFirst(4).prefix(10) == id.text)
      #expect(KeyID(id.text) == id)
    }
  }

  @Test("the checksum is the usual CRC-32, and mixes of ids can be undone")
  func checksum() throws {
    let digits = Array("123456789".utf8)
    #expect(CRC32.of(RawSpan(digits)) == 0xcbf4_3926)
    for number: UInt64 in [1, 62, 839_299_365_868_340_223] {
      let id = try #require(KeyID(number: number))
      #expect(IssuedKeys.id(of: IssuedKeys.mix(id)) == id)
    }
    #expect(KeyID(number: 839_299_365_868_340_224) == nil && KeyID(number: 0) == nil)
  }
}
