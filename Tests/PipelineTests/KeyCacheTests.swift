import Core
import Crypto
import Testing

@testable import Pipeline

@Suite("Cache of seen keys") struct KeyCacheTests {
  private let cache = KeyCache(keyCount: 100, key: SipKey(low: 1, high: 2))

  private func text(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: 33 + $0 % 90) } }

  private func fingerprint(_ bytes: [UInt8]) -> KeyCache.Fingerprint { cache.fingerprint(of: RawSpan(bytes)) }

  @Test("a text that was never remembered is not found", arguments: [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 511, 512])
  func unknown(count: Int) {
    #expect(cache.find(fingerprint(text(count))) == -1)
  }

  @Test("every byte counts, wherever it stands", arguments: [1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 512])
  func everyByte(count: Int) {
    let original = fingerprint(text(count))
    for position in 0..<count {
      var changed = text(count)
      changed[position] ^= 1
      #expect(fingerprint(changed) != original)
    }
  }

  @Test("a text is not another one's beginning, nor the same with zeros behind it")
  func lengths() {
    for count in 0..<64 {
      let zeros = [UInt8](repeating: 0, count: count)
      #expect(fingerprint(zeros) != fingerprint(zeros + [0]))
      #expect(fingerprint(text(count)) != fingerprint(text(count + 1)))
    }
  }

  @Test("words that change places make another text")
  func order() {
    let halves = text(32)
    #expect(fingerprint(halves) != fingerprint(Array(halves[16...] + halves[..<16])))
    #expect(fingerprint(halves) != fingerprint(Array(halves[8..<16] + halves[..<8] + halves[16...])))
  }

  @Test("a remembered text is found again, and only as itself")
  func remembered() {
    for count in 1...100 { cache.remember(fingerprint(text(count)), Int32(count)) }
    // A group is full after four, so the oldest may have gone; none is ever taken for another.
    var found = 0
    for count in 1...100 {
      let entry = cache.find(fingerprint(text(count)))
      #expect(entry == -1 || entry == Int32(count))
      if entry >= 0 { found += 1 }
    }
    #expect(found > 80)
  }

  @Test("another secret gives other fingerprints")
  func secret() {
    let other = KeyCache(keyCount: 100, key: SipKey(low: 1, high: 3))
    let bytes = text(32)
    #expect(fingerprint(bytes) != other.fingerprint(of: RawSpan(bytes)))
  }
}
