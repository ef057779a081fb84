import Core
import Testing

@testable import Pipeline

@Suite("FailureBook")
struct FailureBookTests {
  private let now = Instant(nanoseconds: 1_000_000_000_000)

  private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  @Test("An address is exhausted after as many failures as it may have, and no other is")
  func limit() throws {
    var book = FailureBook()
    let (one, other) = (try address("192.0.2.1"), try address("192.0.2.2"))
    for _ in 0..<3 {
      #expect(!book.isExhausted(one, limit: 3, now: now))
      book.note(one, limit: 3, now: now)
    }
    #expect(book.isExhausted(one, limit: 3, now: now) && !book.isExhausted(other, limit: 3, now: now))
  }

  @Test("Failures are over one by one, and however many there were, after ten seconds all of them")
  func over() throws {
    var book = FailureBook()
    let one = try address("192.0.2.1")
    for _ in 0..<1_000 { book.note(one, limit: 5, now: now) }
    let later = now.advanced(byNanoseconds: FailureBook.span / 5)
    #expect(book.isExhausted(one, limit: 5, now: now) && !book.isExhausted(one, limit: 5, now: later))
    book.note(one, limit: 5, now: later)
    #expect(book.isExhausted(one, limit: 5, now: later))
    #expect(!book.isExhausted(one, limit: 1, now: later.advanced(byNanoseconds: FailureBook.span)))
  }

  @Test("Addresses of one network of IPv6 fail together")
  func network() throws {
    var book = FailureBook()
    book.note(try address("2001:db8::1"), limit: 1, now: now)
    #expect(book.isExhausted(try address("2001:db8::2"), limit: 1, now: now))
    #expect(!book.isExhausted(try address("2001:db8:0:1::1"), limit: 1, now: now))
  }

  @Test("However many addresses fail, a bounded number is remembered, the last one among them")
  func bounded() throws {
    var book = FailureBook()
    for number in 0..<UInt32(FailureBook.capacity + 10) { book.note(IPAddress(v4: number), limit: 1, now: now) }
    #expect(!book.isExhausted(IPAddress(v4: 0), limit: 1, now: now))
    #expect(book.isExhausted(IPAddress(v4: UInt32(FailureBook.capacity + 9)), limit: 1, now: now))
  }
}
