import Core
import Pipeline
import Testing

@testable import Cluster

@Suite("EmbeddedRecords")
struct EmbeddedRecordsTests {
  private func request(_ action: RecordRequest.Action, _ name: String = "a") throws -> RecordRequest {
    try #require(RecordRequest(action, purpose: "test", name: name))
  }

  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: 1 + seconds * 1_000_000_000) }

  @Test(
    "What is no name, too long or of no use is no request",
    arguments: [
      ("", "a"), ("a", ""), ("a b", "a"), ("a", "a\n"), ("a:b", "a"), ("a", String(repeating: "x", count: 193)),
      ("é", "a"),
    ])
  func names(purpose: String, name: String) {
    #expect(RecordRequest(.get, purpose: purpose, name: name) == nil)
  }

  @Test("A value that is too long, or a life that is none, is no request")
  func bounds() {
    let long = [UInt8](repeating: 1, count: RecordRequest.valueLimit + 1)
    #expect(RecordRequest(.put(value: long, lifeSeconds: 1, onlyIfAbsent: false), purpose: "a", name: "a") == nil)
    #expect(RecordRequest(.swap(expected: [], value: long), purpose: "a", name: "a") == nil)
    for life in [0, -1, RecordRequest.longestLife + 1] {
      #expect(RecordRequest(.put(value: [], lifeSeconds: life, onlyIfAbsent: false), purpose: "a", name: "a") == nil)
    }
  }

  @Test("A record is taken once, and over after its life")
  func takesOnce() throws {
    var records = EmbeddedRecords()
    #expect(try records.carryOut(request(.take), now: at(0)) == .done(nil))
    let put = try request(.put(value: [1], lifeSeconds: 10, onlyIfAbsent: true))
    #expect(records.carryOut(put, now: at(0)) == .done(nil))
    #expect(records.carryOut(put, now: at(9)) == .refused)
    #expect(try records.carryOut(request(.get), now: at(9)) == .done([1]))
    #expect(try records.carryOut(request(.take), now: at(9)) == .done([1]))
    #expect(try records.carryOut(request(.take), now: at(9)) == .done(nil))
    #expect(records.carryOut(put, now: at(9)) == .done(nil))
    #expect(try records.carryOut(request(.get), now: at(19)) == .done(nil))
    #expect(try records.carryOut(request(.get, "b"), now: at(9)) == .done(nil))
  }

  @Test("Only what is as expected is replaced, and its end stays")
  func swaps() throws {
    var records = EmbeddedRecords()
    let swap = try request(.swap(expected: [1], value: [2]))
    #expect(records.carryOut(swap, now: at(0)) == .refused)
    _ = try records.carryOut(request(.put(value: [1], lifeSeconds: 10, onlyIfAbsent: false)), now: at(0))
    #expect(records.carryOut(swap, now: at(5)) == .done(nil))
    #expect(records.carryOut(swap, now: at(5)) == .refused)
    #expect(try records.carryOut(request(.get), now: at(9)) == .done([2]))
    #expect(try records.carryOut(request(.get), now: at(10)) == .done(nil))
  }

  @Test("Where there is no room nothing is put, until something is over")
  func full() throws {
    var records = EmbeddedRecords()
    let value = [UInt8](repeating: 1, count: RecordRequest.valueLimit)
    let room = EmbeddedRecords.mostBytes / value.count
    func put(_ number: Int, _ seconds: Int64) throws -> RecordOutcome {
      let action = RecordRequest.Action.put(value: value, lifeSeconds: 10, onlyIfAbsent: false)
      return try records.carryOut(request(action, "\(number)"), now: at(seconds))
    }
    for number in 0..<room { #expect(try put(number, 0) == .done(nil)) }
    #expect(try put(room, 5) == .unavailable)
    // One in the place of another needs none.
    #expect(try put(0, 5) == .done(nil))
    #expect(try put(room, 10) == .done(nil) && records.count == 2)
  }
}
