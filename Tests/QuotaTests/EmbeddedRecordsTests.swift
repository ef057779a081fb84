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

  // MARK: Room

  private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 1, count: count) }

  private func put(
    _ records: inout EmbeddedRecords, _ name: String, _ value: [UInt8], life: Int64 = 100, _ seconds: Int64 = 0
  ) throws -> RecordOutcome {
    let put = RecordRequest.Action.put(value: value, lifeSeconds: life, onlyIfAbsent: false)
    return try records.carryOut(request(put, name), now: at(seconds))
  }

  private func swap(
    _ records: inout EmbeddedRecords, _ name: String, _ expected: [UInt8], _ value: [UInt8], _ seconds: Int64 = 0
  ) throws -> RecordOutcome {
    try records.carryOut(request(.swap(expected: expected, value: value), name), now: at(seconds))
  }

  /// Records `s` of one byte and `0`, `1` and so on of as many as there may be, in which no byte has room any more; those but
  /// `s` and the last of them live for so many seconds.
  private func fullOfBytes(life: Int64 = 100) throws -> EmbeddedRecords {
    var records = EmbeddedRecords()
    let last = EmbeddedRecords.mostBytes / RecordRequest.valueLimit - 1
    _ = try put(&records, "s", bytes(1))
    for number in 0..<last { _ = try put(&records, "\(number)", bytes(RecordRequest.valueLimit), life: life) }
    _ = try put(&records, "\(last)", bytes(RecordRequest.valueLimit - 1))
    return records
  }

  @Test("What would be longer than there is room for is not put in another's place, which stays as it was")
  func swapsWithinBound() throws {
    var records = try fullOfBytes()
    #expect(try swap(&records, "s", bytes(1), bytes(2)) == .unavailable)
    #expect(try records.carryOut(request(.get, "s"), now: at(0)) == .done(bytes(1)))
    // As long as before is no matter of room, and what is not as expected is refused whatever room there is.
    #expect(try swap(&records, "s", bytes(1), [2]) == .done(nil))
    #expect(try swap(&records, "s", bytes(1), bytes(2)) == .refused)
  }

  @Test("What finds no room leaves what it was to be put in the place of")
  func putsWithinBound() throws {
    var records = try fullOfBytes()
    #expect(try put(&records, "s", bytes(2)) == .unavailable)
    #expect(try records.carryOut(request(.get, "s"), now: at(0)) == .done(bytes(1)))
    #expect(try put(&records, "s", [2]) == .done(nil))
    #expect(try records.carryOut(request(.get, "s"), now: at(0)) == .done([2]))
  }

  @Test("Room that a shorter value leaves, or one that is taken, is there for others: neither more nor less of it")
  func swapsGiveBack() throws {
    var records = try fullOfBytes()
    #expect(try put(&records, "new", bytes(1)) == .unavailable)
    #expect(try swap(&records, "s", bytes(1), []) == .done(nil))
    #expect(try put(&records, "new", bytes(2)) == .unavailable)
    #expect(try put(&records, "new", bytes(1)) == .done(nil))
    #expect(try swap(&records, "s", [], bytes(1)) == .unavailable)
    _ = try records.carryOut(request(.take, "0"), now: at(0))
    #expect(try swap(&records, "s", [], bytes(RecordRequest.valueLimit - 1)) == .done(nil))
    #expect(try put(&records, "newer", bytes(2)) == .unavailable)
    #expect(try put(&records, "newer", bytes(1)) == .done(nil))
    // A shorter one that is put in the place of another leaves as much.
    #expect(try put(&records, "1", bytes(RecordRequest.valueLimit - 3)) == .done(nil))
    #expect(try swap(&records, "new", bytes(1), bytes(5)) == .unavailable)
    #expect(try swap(&records, "new", bytes(1), bytes(4)) == .done(nil))
  }

  @Test("A longer value finds the room of those that are over")
  func swapsFindRoom() throws {
    var records = try fullOfBytes(life: 10)
    #expect(try swap(&records, "s", bytes(1), bytes(2), 9) == .unavailable)
    #expect(try swap(&records, "s", bytes(1), bytes(RecordRequest.valueLimit), 10) == .done(nil))
    #expect(try records.carryOut(request(.get, "s"), now: at(10)) == .done(bytes(RecordRequest.valueLimit)))
    #expect(records.count == 2)
  }

  /// As many records as there may be, each without a byte.
  private func fullOfRecords() throws -> EmbeddedRecords {
    var records = EmbeddedRecords()
    for number in 0..<EmbeddedRecords.mostRecords { _ = try put(&records, "\(number)", []) }
    return records
  }

  @Test("However many records there are, one that is there already may become longer")
  func swapsAtMostRecords() throws {
    var records = try fullOfRecords()
    #expect(try put(&records, "new", []) == .unavailable)
    #expect(try swap(&records, "0", [], bytes(9)) == .done(nil))
    #expect(try records.carryOut(request(.get, "0"), now: at(0)) == .done(bytes(9)))
  }

  @Test("What ends first makes room when it ends, also where room was looked for in vain before it came")
  func looksAgain() throws {
    var records = try fullOfBytes()
    // Now it is known that nothing ends before the hundredth second.
    #expect(try put(&records, "new", bytes(1)) == .unavailable)
    _ = try records.carryOut(request(.take, "0"), now: at(0))
    #expect(try put(&records, "short", bytes(RecordRequest.valueLimit), life: 10) == .done(nil))
    #expect(try put(&records, "new", bytes(1), 9) == .unavailable)
    #expect(try put(&records, "new", bytes(1), 10) == .done(nil))
    // And again for those behind it: the next of them end together.
    #expect(try put(&records, "newer", bytes(RecordRequest.valueLimit), 99) == .unavailable)
    #expect(try put(&records, "newer", bytes(RecordRequest.valueLimit), 100) == .done(nil))
    #expect(records.count == 2)
  }

  @Test("Nobody looks through all records for room before the first of them ends", .timeLimit(.minutes(1)))
  func looksRarely() throws {
    var records = try fullOfRecords()
    let put = try request(.put(value: [], lifeSeconds: 100, onlyIfAbsent: false), "new")
    // As many looks through all of them would take minutes.
    var refusals = 0
    for _ in 0..<200_000 where records.carryOut(put, now: at(99)) == .unavailable { refusals += 1 }
    #expect(refusals == 200_000)
    #expect(records.carryOut(put, now: at(100)) == .done(nil))
    #expect(records.count == 1)
  }
}
