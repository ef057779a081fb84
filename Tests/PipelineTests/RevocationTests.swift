import Core
import Crypto
import Testing

@testable import Pipeline

private let key = SipKey(low: 11, high: 12)

private func mark(_ name: String, _ kind: RevocationKind = .tokenID) -> RevocationMark {
  RevocationMark(kind, name, key: key)
}

/// Numbered tokens that are over at moments of a test's choice.
private struct Tokens: RevocationSource {
  let range: Range<Int>
  var expires: @Sendable (Int) -> UInt32 = { _ in .max }

  func forEach(_ body: (Revocation) -> Void) {
    for index in range { body(Revocation(mark("t\(index)"), expires: expires(index))) }
  }
}

@Suite("Revocations") struct RevocationTests {
  @Test("nothing is revoked until it is, and then only that kind of that name")
  func kinds() {
    var book = RevocationBook()
    #expect(!book.current.holds(mark("a"), now: 1))
    let isNew = book.insert([Revocation(mark("a"))])
    #expect(isNew)
    #expect(book.current.holds(mark("a"), now: 1))
    for kind in RevocationKind.allCases where kind != .tokenID { #expect(!book.current.holds(mark("a", kind), now: 1)) }
    #expect(!book.current.holds(mark("b"), now: 1))
    let other = RevocationMark(.tokenID, "a", key: SipKey(low: 11, high: 13))
    #expect(other != mark("a"))
  }

  @Test("a revocation is over at its end, and one of a subject spares what was issued later")
  func ends() {
    var book = RevocationBook()
    _ = book.insert([Revocation(mark("a"), expires: 100), Revocation(mark("s"), issuedBefore: 50)])
    #expect(book.current.holds(mark("a"), now: 99))
    #expect(!book.current.holds(mark("a"), now: 100))
    #expect(book.current.holds(mark("s"), issued: 49, now: 99))
    #expect(!book.current.holds(mark("s"), issued: 50, now: 99))
    #expect(book.current.holds(mark("s"), now: 99))
  }

  @Test("in whatever order and however often they come, the later end holds")
  func merging() {
    let first = Revocation(mark("a"), expires: 100, issuedBefore: 9)
    let second = Revocation(mark("a"), expires: 90, issuedBefore: 20)
    for order in [[first, second, first], [second, first]] {
      var book = RevocationBook()
      for revocation in order { _ = book.insert([revocation]) }
      let isNewAgain = book.insert(order)
      #expect(!isNewAgain)
      #expect(book.current.holds(mark("a"), issued: 19, now: 99))
      #expect(!book.current.holds(mark("a"), issued: 20, now: 99))
      #expect(!book.current.holds(mark("a"), now: 100))
    }
  }

  @Test("none is missed while they move from part to part, nor afterwards")
  func packing() throws {
    var book = RevocationBook()
    let count = RevocationBook.middleLimit + 5000
    var next = 0
    while next < count {
      let batch = next..<min(next + 700, count)
      _ = book.insert(batch.map { Revocation(mark("t\($0)"), expires: $0 % 2 == 0 ? .max : 100_000) })
      next = batch.upperBound
    }
    _ = book.insert([Revocation(mark("s"), issuedBefore: 50)])
    func check(_ now: UInt32) {
      for index in stride(from: 0, to: count, by: 97) { #expect(book.current.holds(mark("t\(index)"), now: now)) }
      let others = (0..<20_000).filter { book.current.holds(mark("o\($0)"), now: now) }
      #expect(others == [])
      #expect(
        book.current.holds(mark("s"), issued: 49, now: now) && !book.current.holds(mark("s"), issued: 50, now: now))
    }
    let taken = book.takeWork(now: 1)
    let again = book.takeWork(now: 1)
    let work = try #require(taken)
    #expect(again == nil)
    check(1)
    _ = book.insert([Revocation(mark("late"))])
    book.adopt(work.run())
    check(99_999)
    #expect(book.current.holds(mark("late"), now: 1))
    #expect(book.current.base != nil)
  }

  @Test("what is packed ends with its window at the latest, and whole segments are left out when it is over")
  func windows() {
    var book = RevocationBook()
    let hour = 3600
    book.load(Tokens(range: 0..<4000, expires: { UInt32(($0 % 4 + 1) * hour) }), now: 1)
    #expect(book.current.base?.segments.map(\.expires) == [UInt32(6 * hour)])
    #expect(book.current.holds(mark("t3"), now: UInt32(4 * hour) - 1))
    #expect(!book.current.holds(mark("t3"), now: UInt32(6 * hour)))
    book.load(Tokens(range: 4000..<4001), now: UInt32(6 * hour))
    #expect(book.current.base?.count == 1)
  }

  @Test("more windows than segments are put together, never to an earlier end")
  func manyWindows() {
    var book = RevocationBook()
    book.load(Tokens(range: 0..<9000, expires: { UInt32(($0 % 9 + 1) * 200_000) }), now: 1)
    #expect(book.current.base?.segments.count == RevocationBase.segmentLimit)
    for index in stride(from: 0, to: 9000, by: 7) {
      #expect(book.current.holds(mark("t\(index)"), now: UInt32((index % 9 + 1) * 200_000) - 1))
    }
  }

  @Test("loading the same again adds nothing")
  func loadingAgain() {
    var book = RevocationBook()
    for _ in 0..<3 { book.load(Tokens(range: 0..<3000), now: 1) }
    #expect(book.current.count == 3000)
    var found: Set<UInt64> = []
    book.current.forEach(now: 1) { found.insert($0.mark.bits) }
    #expect(found == Set((0..<3000).map { mark("t\($0)").bits }))
  }
}
