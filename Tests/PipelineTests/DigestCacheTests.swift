import Crypto
import Testing

@testable import Pipeline

@Suite struct DigestCacheTests {
  private final class Note: Sendable {
    let text: String
    init(_ text: String) { self.text = text }
  }

  private final class Rule {}

  private let cache = DigestCache<Note>(capacity: 8)
  private let rule = Rule()
  private let other = Rule()

  /// A digest that lies in one of two groups of four.
  private func digest(_ number: UInt64, group: UInt64 = 0) -> Digest {
    Digest(words: (number << 1 | group, number, number, number))
  }

  private func text(_ number: UInt64, group: UInt64 = 0) -> String? {
    cache.find(digest(number, group: group), of: rule)?.text
  }

  @Test("What is not there is not found: nothing at all, another digest in the same place, another policy's")
  func absent() {
    #expect(text(1) == nil)
    cache.forget(digest(1), of: rule)
    cache.remember(Note("a"), digest(1), of: rule)
    #expect(text(2) == nil && text(1, group: 1) == nil && cache.find(digest(1), of: other) == nil)
    cache.forget(digest(1), of: other)
    #expect(text(1) == "a")
  }

  @Test("What is remembered anew takes the place of what was there, also where a place before it has become free")
  func replaced() {
    cache.remember(Note("a"), digest(1), of: rule)
    cache.remember(Note("b"), digest(2), of: rule)
    cache.forget(digest(1), of: rule)
    cache.remember(Note("c"), digest(2), of: rule)
    #expect(text(1) == nil && text(2) == "c")
    cache.forget(digest(2), of: rule)
    #expect(text(2) == nil)
  }

  @Test("Of a full group what was not used for longest goes, and no other group loses anything")
  func full() {
    cache.remember(Note("other"), digest(1, group: 1), of: rule)
    for number in UInt64(1)...4 { cache.remember(Note("\(number)"), digest(number), of: rule) }
    #expect(text(1) == "1")
    cache.remember(Note("5"), digest(5), of: rule)
    #expect((1...5).map { text($0) } == ["1", nil, "3", "4", "5"] && text(1, group: 1) == "other")
    for number in UInt64(6)...1_000 { cache.remember(Note("\(number)"), digest(number), of: rule) }
    #expect((1...1_000).filter { text($0) != nil } == [997, 998, 999, 1_000] && text(1, group: 1) == "other")
  }
}
